//! The reader against the fake.
