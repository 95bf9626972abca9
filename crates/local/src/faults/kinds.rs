//! The faults there are.
//!
//! | fault | service | operation | beside it | what happens |
//! |---|---|---|---|---|
//! | `delay` | all | any | `delay` | the answer comes `delay` later |
//! | `error` | all | any | `status`, `code`? | an answer of this status and code, without effect |
//! | `lost_answer` | all | any | | the call has its effect, the connection ends without an answer |
//! | `lost_request` | all | any | | the connection ends without an answer, and the call has no effect |
//! | `cut` | all | any | `bytes` | the call has its effect, the connection ends after so many bytes of the answer's body |
//! | `throttle` | Kinesis, DynamoDB | any | | the service's own throttling error |
//! | `deny` | Kinesis, DynamoDB | any | | `AccessDeniedException` that names the action and the resource |
//! | `expire_iterator` | Kinesis | `GetRecords` | | `ExpiredIteratorException` |
//! | `partial` | Kinesis | `PutRecords` | `share`?, `code`? | a part of the entries is refused, at least one |
//! | `stale` | Kinesis | `ListShards` | `delay` | the list as it was `delay` ago |
//! | `throttle` | Snowflake | any | `retry_after`? | 429 with `Retry-After` (1 s if not given) |
//! | `unavailable` | Snowflake | any | `retry_after`? | 503 |
//! | `stale_continuation` | Snowflake | `append_rows`, `register_files` | | 400, the continuation token is stale |
//! | `open_in_progress` | Snowflake | `open_channel` | | 409, another open is under way |
//! | `invalidate_channel` | Snowflake | `append_rows`, `register_files`, `channel_status` | `code`? | the channel has this status code, and appends are refused with it, until it is opened again |
//! | `take_channel` | Snowflake | the same | `token`? | another client opens the channel first, and leaves this offset token |
//! | `remove_channel` | Snowflake | the same | | the service removes the channel first, as one that was idle |
//! | `expire_token` | Snowflake | those of pipes and channels | | 401 for this bearer token from now on |
//! | `slow_commit` | Snowflake | `commit` | `delay` | a commit starts `delay` later |
//! | `late_counters` | Snowflake | `channel_status` | `delay` | status leaves out of its counters what was committed during the last `delay`, beside the new token |
//! | `stale_on_replay` | Snowflake | `append_rows`, `register_files` | | a repeated request id is answered as stale |
//! | `refuse_rows` | Snowflake | `append_rows` | `contains`, `status`?, `code`? | a request with this text in its rows is refused, with 400 if not given |
//! | `lose_accepted` | Snowflake | `commit` | | nothing of the channels whose rows are to be committed is, until they are opened again |
//! | `lose_accepted` | Snowflake | `restart` | | what is accepted and not committed when the stack stops is lost |
//! | `lose_rows` | Snowflake | `commit` | | a batch's token is committed without its rows |
//!
//! Each rule on Kinesis or DynamoDB takes a `resource`, too.

use super::{Rule, Service};
use Service::{Dynamodb, Kinesis, Snowflake};

const ALL: &[Service] = &[Kinesis, Dynamodb, Snowflake];
const AWS: &[Service] = &[Kinesis, Dynamodb];

/// A parameter of some faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Delay,
    Status,
    Code,
    Bytes,
    Share,
    RetryAfter,
    Contains,
    Token,
    Resource,
}

const KEYS: [(Key, &str); 9] = [
    (Key::Delay, "delay"),
    (Key::Status, "status"),
    (Key::Code, "code"),
    (Key::Bytes, "bytes"),
    (Key::Share, "share"),
    (Key::RetryAfter, "retry_after"),
    (Key::Contains, "contains"),
    (Key::Token, "token"),
    (Key::Resource, "resource"),
];

/// One kind of fault.
#[derive(Debug)]
pub(super) struct Kind {
    name: &'static str,
    services: &'static [Service],
    /// None: any.
    operations: Option<&'static [&'static str]>,
    needs: &'static [Key],
    may: &'static [Key],
    /// Done by the layer before the router; else the service asks for it.
    pub(super) in_layer: bool,
}

const fn kind(name: &'static str, services: &'static [Service]) -> Kind {
    Kind {
        name,
        services,
        operations: None,
        needs: &[],
        may: &[],
        in_layer: true,
    }
}

const fn only(name: &'static str, service: &'static [Service], operations: &'static [&'static str]) -> Kind {
    Kind {
        operations: Some(operations),
        ..kind(name, service)
    }
}

const fn inside(name: &'static str, operations: &'static [&'static str], needs: &'static [Key]) -> Kind {
    Kind {
        needs,
        in_layer: false,
        ..only(name, &[Snowflake], operations)
    }
}

static KINDS: [Kind; 24] = [
    Kind {
        needs: &[Key::Delay],
        ..kind("delay", ALL)
    },
    Kind {
        needs: &[Key::Status],
        may: &[Key::Code],
        ..kind("error", ALL)
    },
    kind("lost_answer", ALL),
    kind("lost_request", ALL),
    Kind {
        needs: &[Key::Bytes],
        ..kind("cut", ALL)
    },
    kind("throttle", AWS),
    kind("deny", AWS),
    only("expire_iterator", &[Kinesis], &["GetRecords"]),
    Kind {
        may: &[Key::Share, Key::Code],
        ..only("partial", &[Kinesis], &["PutRecords"])
    },
    Kind {
        needs: &[Key::Delay],
        ..only("stale", &[Kinesis], &["ListShards"])
    },
    Kind {
        may: &[Key::RetryAfter],
        ..kind("throttle", &[Snowflake])
    },
    Kind {
        may: &[Key::RetryAfter],
        ..kind("unavailable", &[Snowflake])
    },
    only("stale_continuation", &[Snowflake], &APPENDS),
    only("open_in_progress", &[Snowflake], &["open_channel"]),
    only("expire_token", &[Snowflake], &BEARERS),
    inside("slow_commit", &["commit"], &[Key::Delay]),
    inside("late_counters", &["channel_status"], &[Key::Delay]),
    inside("stale_on_replay", &APPENDS, &[]),
    Kind {
        may: &[Key::Code],
        ..inside("invalidate_channel", &CHANNELS, &[])
    },
    Kind {
        may: &[Key::Token],
        ..inside("take_channel", &CHANNELS, &[])
    },
    inside("remove_channel", &CHANNELS, &[]),
    Kind {
        may: &[Key::Status, Key::Code],
        ..inside("refuse_rows", &["append_rows"], &[Key::Contains])
    },
    inside("lose_accepted", &["commit", "restart"], &[]),
    inside("lose_rows", &["commit"], &[]),
];

/// Operations of Snowflake whose bearer token can be made to expire.
pub(super) const BEARERS: [&str; 6] = [
    "pipe_info",
    "open_channel",
    "drop_channel",
    "channel_status",
    "append_rows",
    "register_files",
];

/// Operations that append: rows, and files that were uploaded.
const APPENDS: [&str; 2] = ["append_rows", "register_files"];

/// Operations before which something happens to a channel.
const CHANNELS: [&str; 3] = ["append_rows", "register_files", "channel_status"];

impl Kind {
    /// Whether a call of this operation can have this fault.
    pub(super) fn knows(&self, operation: &str) -> bool {
        self.operations.is_none_or(|known| known.contains(&operation))
    }
}

impl Rule {
    /// What kind of fault it is; none if there is no such fault of its service.
    pub(super) fn kind(&self) -> Option<&'static Kind> {
        KINDS
            .iter()
            .find(|kind| kind.name == self.fault && kind.services.contains(&self.service))
    }

    /// Whether the call goes on to the service, and to the rules behind this one.
    pub(super) fn goes_on(&self) -> bool {
        ["delay", "cut", "partial", "stale"].contains(&self.fault.as_str())
    }

    /// Says what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in [("probability", Some(self.probability)), ("share", self.share)] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(format!("{name} {value} is not between 0 and 1"));
            }
        }
        let kind = match self.kind() {
            Some(kind) => kind,
            None => return Err(self.unknown()),
        };
        match kind.operations {
            _ if self.operation == "*" => {}
            Some(known) if known.contains(&self.operation.as_str()) => {}
            Some(known) => {
                return Err(format!(
                    "fault {} is for operation {}",
                    self.fault,
                    known.join(", ")
                ));
            }
            None if self.is_known_operation() => {}
            None => return Err(format!("unknown operation '{}'", self.operation)),
        }
        for (key, name) in KEYS {
            let needed = kind.needs.contains(&key);
            let taken =
                needed || kind.may.contains(&key) || (key == Key::Resource && self.service != Snowflake);
            match (self.has(key), needed, taken) {
                (false, true, _) if key == Key::Status => {
                    return Err("fault error needs a status from 400 to 599".into());
                }
                (false, true, _) => return Err(format!("fault {} needs {name}", self.fault)),
                (true, _, false) => return Err(format!("fault {} takes no {name}", self.fault)),
                _ => {}
            }
        }
        match self.status {
            None | Some(400..=599) => Ok(()),
            Some(_) => Err(format!("fault {} needs a status from 400 to 599", self.fault)),
        }
    }

    fn unknown(&self) -> String {
        let elsewhere = KINDS.iter().filter(|kind| kind.name == self.fault);
        let services: Vec<String> = elsewhere
            .flat_map(|kind| kind.services)
            .map(ToString::to_string)
            .collect();
        if services.is_empty() {
            format!("unknown fault '{}'", self.fault)
        } else {
            format!("fault {} is for service {}", self.fault, services.join(", "))
        }
    }

    fn has(&self, key: Key) -> bool {
        match key {
            Key::Delay => self.delay.is_some(),
            Key::Status => self.status.is_some(),
            Key::Code => self.code.is_some(),
            Key::Bytes => self.bytes.is_some(),
            Key::Share => self.share.is_some(),
            Key::RetryAfter => self.retry_after.is_some(),
            Key::Contains => self.contains.as_ref().is_some_and(|text| !text.is_empty()),
            Key::Token => self.token.is_some(),
            Key::Resource => self.resource.is_some(),
        }
    }

    fn is_known_operation(&self) -> bool {
        match self.service {
            Kinesis => self.operation.parse::<ferrokinesis::actions::Operation>().is_ok(),
            Dynamodb => DYNAMODB.contains(&self.operation.as_str()),
            Snowflake => crate::snowflake::OPERATIONS.contains(&self.operation.as_str()),
        }
    }
}

/// Operations of the DynamoDB API reference that the stand-in knows.
const DYNAMODB: [&str; 22] = [
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DeleteTable",
    "DescribeTable",
    "DescribeTimeToLive",
    "ExecuteStatement",
    "ExecuteTransaction",
    "GetItem",
    "ListTables",
    "ListTagsOfResource",
    "PutItem",
    "Query",
    "Scan",
    "TagResource",
    "TransactGetItems",
    "TransactWriteItems",
    "UntagResource",
    "UpdateItem",
    "UpdateTable",
];
