//! The words of the local Snowflake: tables, columns, types, segments, channels.
//!
//! Names are stored resolved: an unquoted identifier has been folded to upper case before it comes here, a quoted one
//! is kept as written (Snowflake documentation, "Identifier requirements").

mod streaming;
mod structured;
mod vector;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalog::Pin;

pub use self::streaming::{ChannelFilter, ChannelRow, Counters, NewPipe, PipeRow};
pub use self::structured::FieldDef;
pub(crate) use self::structured::MOST_SUB_COLUMNS;
pub use self::vector::VectorElement;

/// A column's type. Lengths are in characters (VARCHAR) or bytes (BINARY); scales are digits of fractional seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// NUMBER(precision, scale).
    Number {
        /// 1 to 38.
        precision: u8,
        /// 0 to 37.
        scale: i8,
    },
    /// FLOAT, 64 bit.
    Float,
    /// BOOLEAN.
    Boolean,
    /// VARCHAR(length).
    Varchar {
        /// Characters, at most 134,217,728.
        length: u32,
    },
    /// BINARY(length).
    Binary {
        /// Bytes.
        length: u32,
    },
    /// DATE.
    Date,
    /// TIME(scale).
    Time {
        /// 0 to 9.
        scale: u8,
    },
    /// TIMESTAMP_NTZ(scale).
    TimestampNtz {
        /// 0 to 9.
        scale: u8,
    },
    /// TIMESTAMP_LTZ(scale).
    TimestampLtz {
        /// 0 to 9.
        scale: u8,
    },
    /// TIMESTAMP_TZ(scale).
    TimestampTz {
        /// 0 to 9.
        scale: u8,
    },
    /// VARIANT.
    Variant,
    /// OBJECT.
    Object,
    /// ARRAY.
    Array,
    /// NUMBER(10,0) of an Iceberg table that holds 32 bits.
    Int,
    /// NUMBER(19,0) of an Iceberg table that holds 64 bits.
    Long,
    /// DECFLOAT: 38 digits and an exponent.
    Decfloat,
    /// VECTOR(element, dimension).
    Vector {
        /// FLOAT or INT, of 32 bits.
        element: VectorElement,
        /// Elements, 1 to 4096.
        dimension: u16,
    },
    /// OBJECT(name type, ...).
    Struct {
        /// Its keys, in order.
        fields: Vec<FieldDef>,
    },
    /// ARRAY(type).
    List {
        /// Its elements.
        element: Box<FieldDef>,
    },
    /// MAP(key, value).
    Map {
        /// VARCHAR, or a whole number.
        key: Box<FieldDef>,
        /// Its values.
        value: Box<FieldDef>,
    },
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDef {
    /// Resolved name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// False for NOT NULL.
    pub nullable: bool,
    /// DEFAULT as SQL text.
    pub default: Option<String>,
    /// IDENTITY / AUTOINCREMENT: the next value, and the step.
    pub identity: Option<(i64, i64)>,
    /// COMMENT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// How segments call it, where that is not its name: it was renamed, or a column of its name was dropped before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// Where IDENTITY began, once it moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_begin: Option<i64>,
    /// What schema evolution did to it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evolution: Option<Evolution>,
    /// Of timestamps: one of before 1677 or behind 2262 came, and since then they are kept in microseconds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub micros: bool,
}

/// What schema evolution did to a column, and when. A change by hand forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evolution {
    /// What it did.
    pub kind: EvolutionKind,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// What schema evolution does to columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvolutionKind {
    /// A key had no column.
    AddColumn,
    /// A row had no value for it.
    DropNotNull,
}

impl ColumnDef {
    /// A nullable column without DEFAULT.
    #[must_use]
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            data_type,
            nullable: true,
            default: None,
            identity: None,
            comment: None,
            stored: None,
            identity_begin: None,
            evolution: None,
            micros: false,
        }
    }

    /// How segments call it.
    #[must_use]
    pub fn stored_name(&self) -> &str {
        self.stored.as_deref().unwrap_or(&self.name)
    }
}

/// One table, its columns in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDef {
    /// Never reused, also not by CREATE OR REPLACE.
    pub id: i64,
    /// Database.
    pub database: String,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Columns in table order.
    pub columns: Vec<ColumnDef>,
    /// ENABLE_SCHEMA_EVOLUTION.
    pub schema_evolution: bool,
    /// ERROR_LOGGING.
    pub error_logging: bool,
    /// ROW_TIMESTAMP: when it was switched on, in milliseconds since 1970.
    pub row_timestamp_ms: Option<i64>,
    /// What kind of table it is.
    pub kind: TableKind,
    /// CLUSTER BY, as SQL text with its parentheses.
    pub cluster_by: Option<String>,
    /// COMMENT.
    pub comment: Option<String>,
    /// The role that has OWNERSHIP.
    pub owner: String,
    /// Milliseconds since 1970.
    pub created_on_ms: i64,
    /// Columns that were renamed or dropped so far.
    pub renames: u32,
    /// DATA_RETENTION_TIME_IN_DAYS: how far back time travel reaches.
    pub retention_days: u8,
    /// An interactive table's own transform, `(SELECT ...)`: what its default pipe does.
    pub transform: Option<String>,
    /// ICEBERG_VERSION of an Iceberg table.
    pub iceberg_version: Option<u8>,
}

/// DATA_RETENTION_TIME_IN_DAYS where nothing is said (Snowflake documentation, "Understanding & using Time Travel").
pub const RETENTION_DAYS: u8 = 1;

impl TableDef {
    /// What a table will be, before it is there.
    pub(crate) fn unsaved(new: &NewTable) -> Self {
        Self {
            id: 0,
            database: new.database.clone(),
            schema: new.schema.clone(),
            name: new.name.clone(),
            columns: new.columns.clone(),
            schema_evolution: new.schema_evolution,
            error_logging: new.error_logging,
            row_timestamp_ms: None,
            kind: new.kind,
            cluster_by: new.cluster_by.clone(),
            comment: new.comment.clone(),
            owner: new.owner.clone().unwrap_or_else(|| ACCOUNTADMIN.to_owned()),
            created_on_ms: 0,
            renames: 0,
            retention_days: new.retention_days.unwrap_or(RETENTION_DAYS),
            transform: new.transform.clone(),
            iceberg_version: None,
        }
    }

    /// How segments call a new column of this name, if not by its name: values of an earlier column of it are not its own.
    #[must_use]
    pub(crate) fn stored_as(&self, name: &str) -> Option<String> {
        (self.renames > 0).then(|| format!("{name}\u{1}{}", self.renames))
    }
}

/// Kinds of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableKind {
    /// CREATE TABLE.
    #[default]
    Standard,
    /// CREATE ICEBERG TABLE.
    Iceberg,
    /// CREATE INTERACTIVE TABLE.
    Interactive,
}

impl TableKind {
    /// As the catalog stores it.
    pub(crate) fn stored(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Iceberg => "iceberg",
            Self::Interactive => "interactive",
        }
    }

    /// What the catalog stored.
    pub(crate) fn read(text: &str) -> Option<Self> {
        [Self::Standard, Self::Iceberg, Self::Interactive]
            .into_iter()
            .find(|kind| kind.stored() == text)
    }
}

/// The role that may do everything, and owns what nobody else does.
pub const ACCOUNTADMIN: &str = "ACCOUNTADMIN";

/// What `Catalog::create_table` takes: a `TableDef` before it has an id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTable {
    /// Database.
    pub database: String,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Columns in table order.
    pub columns: Vec<ColumnDef>,
    /// ENABLE_SCHEMA_EVOLUTION.
    pub schema_evolution: bool,
    /// ERROR_LOGGING.
    pub error_logging: bool,
    /// ROW_TIMESTAMP.
    pub row_timestamp: bool,
    /// What kind of table it is.
    pub kind: TableKind,
    /// CLUSTER BY, as SQL text with its parentheses.
    pub cluster_by: Option<String>,
    /// COMMENT.
    pub comment: Option<String>,
    /// The role that will have OWNERSHIP; [`ACCOUNTADMIN`] if none is given.
    pub owner: Option<String>,
    /// DATA_RETENTION_TIME_IN_DAYS; [`RETENTION_DAYS`] if nothing is said.
    pub retention_days: Option<u8>,
    /// An interactive table's own transform, `(SELECT ...)`.
    pub transform: Option<String>,
    /// COPY GRANTS: the table whose grants it gets, instead of those on future tables.
    pub copy_grants_of: Option<i64>,
}

/// What the rows of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// Rows of the table.
    Rows = 0,
    /// Rows of its error table.
    Errors = 1,
}

/// One immutable Parquet file of a table. Columns that were added after it was written are absent from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Id.
    pub id: i64,
    /// Its table.
    pub table_id: i64,
    /// Relative to the data folder.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// A table as of one moment. The segment files stay on disk as long as this value (or a clone of it) lives.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    /// The definition.
    pub table: TableDef,
    /// Its segments, oldest first.
    pub segments: Vec<Segment>,
    /// The schema of an Iceberg table's files, as Iceberg's JSON.
    pub iceberg_schema: Option<String>,
    /// Keeps merged-away or dropped files until the reader is done.
    pub pin: Arc<Pin>,
}

/// What to do when the object is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// CREATE: an error.
    New,
    /// CREATE ... IF NOT EXISTS: leave it.
    IfNotExists,
    /// CREATE OR REPLACE: drop it first.
    OrReplace,
}

/// What a CREATE did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    Made,
    /// It was there and was left.
    Existed,
    /// It was there and was replaced.
    Replaced,
}

/// A row of SHOW DATABASES or SHOW SCHEMAS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRow {
    /// The database.
    pub database: String,
    /// The schema; empty for a database.
    pub schema: String,
    /// Milliseconds since 1970.
    pub created_on_ms: i64,
}
