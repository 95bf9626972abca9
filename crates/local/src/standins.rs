//! The stand-ins for Kinesis (`ferrokinesis`) and DynamoDB (`dynoxide`), in process behind loopback ports, kept in the data
//! folder.

pub(crate) mod dynamodb;
pub(crate) mod kinesis;
