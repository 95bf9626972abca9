//! Reading ahead, on a clock that stands still until it is moved.
