//! VECTOR(element, dimension), so many numbers of 32 bits (Snowflake documentation, "Vector data types").

use serde::{Deserialize, Serialize};

/// What a VECTOR's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorElement {
    /// FLOAT of 32 bits.
    Float,
    /// INT of 32 bits.
    Int,
}
