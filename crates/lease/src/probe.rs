//! What these rights allow on the lease table, tried without changing anything.
//!
//! How it works: a read asks for a row that is not there. An UpdateItem carries a condition that no row fulfils, so the service
//! refuses it by that condition, after it let the caller in ("ConditionalCheckFailedException", DynamoDB API reference,
//! `UpdateItem`). A CreateTable is sent only where the table was seen, and is refused because it is there. An action on a table
//! that is not there is refused for that, if the caller may take it: rights are judged first.
//!
//! What it guarantees: no row is written. What it does not: CreateTable cannot be tried before the table is there; one that is
//! deleted between two calls of a probe would be made anew.

use crate::admin::{Table, TableAdmin};
use crate::error::Error;
use crate::row::{self, Attribute, NODE_PREFIX, PIN_KEY, Row, name};
use crate::state::StreamIdentity;
use crate::store::{Scope, Written};
use crate::update::{Condition, Purpose, Update};

/// What is said of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// The service let the caller in.
    Proved,
    /// It did not, or there was no answer.
    Failed(Error),
    /// It cannot be tried without an effect.
    Untried,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The table; none where there is none.
    pub table: Result<Option<Table>, Error>,
    /// IAM actions (without their `dynamodb:`) in the order they were tried.
    pub rights: Vec<(&'static str, Right)>,
    /// The stream that the table remembers; none where it remembers none, or cannot be read.
    pub stream: Option<StreamIdentity>,
}

impl Right {
    fn of<T>(answer: Result<T, Error>) -> Self {
        match answer {
            Ok(_) | Err(Error::TableMissing { .. }) => Self::Proved,
            Err(error) => Self::Failed(error),
        }
    }
}

/// The key of a row that nobody writes. Openflow skips its prefix.
fn nobodys() -> String {
    format!("{NODE_PREFIX}frazil-check")
}

/// An update that changes nothing: the row of a key has no other key.
fn refused_by_condition() -> Update {
    Update {
        purpose: Purpose::Probe,
        key: nobodys(),
        conditions: vec![Condition::Is(name::SHARD_ID, Attribute::text("nobody"))],
        set: Vec::new(),
        remove: vec![name::WORKER],
    }
}

/// Tries what a connector does with its lease table.
pub async fn probe(door: &dyn TableAdmin, scope: &Scope) -> Probe {
    let table = door.describe(&scope.application).await;
    let mut rights = vec![("DescribeTable", Right::of(table.clone()))];
    let is_there = matches!(&table, Ok(Some(table)) if table.not_ready.is_none());
    let foreign = matches!(&table, Ok(Some(table)) if table.layout != crate::admin::Layout::Lease);
    if is_there {
        rights.push(("CreateTable", Right::of(door.create(&scope.application).await)));
    } else {
        rights.push(("CreateTable", Right::Untried));
    }
    // Keys of another layout are refused before anything else.
    if foreign {
        let others = ["Query", "GetItem", "UpdateItem"];
        rights.extend(others.map(|action| (action, Right::Untried)));
        return Probe {
            table,
            rights,
            stream: None,
        };
    }
    rights.push(("Query", Right::of(door.rows(scope, &nobodys()).await)));
    let pin = door.row(scope, PIN_KEY).await;
    let stream = match pin.as_ref().ok().and_then(|pin| pin.as_ref()).map(row::decode) {
        Some(Ok(Row::Pin(pin))) => Some(pin.stream),
        _ => None,
    };
    rights.push(("GetItem", Right::of(pin)));
    rights.push(("UpdateItem", updates(door, scope).await));
    Probe {
        table,
        rights,
        stream,
    }
}

async fn updates(door: &dyn TableAdmin, scope: &Scope) -> Right {
    match door.update(scope, &refused_by_condition()).await {
        Ok(Written::Refused(_)) => Right::Proved,
        Ok(Written::Done) => Right::Failed(Error::Rejected {
            call: "UpdateItem",
            detail: "it ignored the condition of an update".to_owned(),
        }),
        // The update was refused by its condition, and the row that refused it could not be read.
        Err(Error::AccessDenied { call: "GetItem", .. }) => Right::Proved,
        Err(error) => Right::of(Err::<(), _>(error)),
    }
}
