//! Faults on request: one file for all three services.
//!
//! ```yaml
//! seed: 7
//! rules:
//!   - service: snowflake        # kinesis, dynamodb or snowflake
//!     operation: append_rows    # an AWS operation name, one of ours, or "*"
//!     fault: lost_answer
//!     probability: 0.05         # of each matching call; 1 if not given
//!     after: 10                 # so many matching calls are spared first
//!     times: 3                  # at most so often; without it for ever
//! ```
//!
//! For every service: `delay` (needs `delay`), `error` (needs `status`; `code` goes into the body) and `lost_answer` (the
//! call has its effect, the connection ends without an answer). For snowflake also:
//!
//! | fault | operation | what it does |
//! |---|---|---|
//! | `slow_commit` | `commit` | a commit starts `delay` later |
//! | `late_counters` | `channel_status` | status leaves out of its counters what was committed during the last `delay`, beside the new token |
//! | `stale_on_replay` | `append_rows` | a repeated request id is answered as stale |
//! | `lose_accepted` | `restart` | what is accepted and not committed when the stack stops is lost |
//!
//! Whether a rule hits its nth call depends on the seed, the rule and n only. An unknown key, fault or operation is an error.

mod duration;
pub(crate) mod layer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::{Error, Result};

const FILE_LIMIT: u64 = 1024 * 1024;

/// The faults file as written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FaultsFile {
    /// Makes the same choices again.
    #[serde(default)]
    pub seed: u64,
    /// In order; the first `error` or `lost_answer` that hits a call wins.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// One rule of the faults file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whose calls.
    pub service: Service,
    /// Which of them; `*` = all.
    #[serde(default = "all")]
    pub operation: String,
    /// What happens to them.
    pub fault: String,
    /// From 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Matching calls that are spared first.
    #[serde(default)]
    pub after: u64,
    /// How often at most.
    #[serde(default)]
    pub times: Option<u64>,
    /// Such as `200ms`, `5s`, `1m`.
    #[serde(default, deserialize_with = "duration::deserialize")]
    pub delay: Option<Duration>,
    /// HTTP status of an `error`, 400 to 599.
    #[serde(default)]
    pub status: Option<u16>,
    /// Error code of an `error`.
    #[serde(default)]
    pub code: Option<String>,
}

/// A service of the local stack.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// The Kinesis stand-in.
    Kinesis,
    /// The DynamoDB stand-in.
    Dynamodb,
    /// The local Snowflake.
    Snowflake,
}

fn all() -> String {
    "*".to_owned()
}

fn always() -> f64 {
    1.0
}

impl FaultsFile {
    /// Parses the YAML text and checks each rule.
    ///
    /// # Errors
    /// [`Error::Faults`] with the place and the reason.
    pub fn parse(text: &str) -> Result<Self> {
        let file: Self = serde_saphyr::from_str(text).map_err(|error| Error::Faults(error.to_string()))?;
        for (index, rule) in file.rules.iter().enumerate() {
            rule.check()
                .map_err(|reason| Error::Faults(format!("rule {}: {reason}", index + 1)))?;
        }
        Ok(file)
    }

    /// Reads and parses a file.
    ///
    /// # Errors
    /// [`Error::Disk`] if it cannot be read, [`Error::Faults`] as [`FaultsFile::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = crate::disk::read_small(path, FILE_LIMIT).map_err(Error::disk("read", path))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::Faults("the file is not UTF-8".into()))?;
        Self::parse(&text)
    }
}

const GENERIC: [&str; 3] = ["delay", "error", "lost_answer"];
/// Faults of the local Snowflake with the one operation they know.
const OWN: [(&str, &str); 4] = [
    ("slow_commit", "commit"),
    ("late_counters", "channel_status"),
    ("stale_on_replay", "append_rows"),
    ("lose_accepted", "restart"),
];

impl Rule {
    fn check(&self) -> std::result::Result<(), String> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(format!("probability {} is not between 0 and 1", self.probability));
        }
        if let Some((fault, operation)) = OWN.iter().find(|(fault, _)| *fault == self.fault) {
            if self.service != Service::Snowflake {
                return Err(format!("fault {fault} is for service snowflake"));
            }
            if self.operation != "*" && self.operation != *operation {
                return Err(format!("fault {fault} is for operation {operation}"));
            }
        } else if GENERIC.contains(&self.fault.as_str()) {
            self.check_operation()?;
        } else {
            return Err(format!("unknown fault '{}'", self.fault));
        }
        let needs_delay = ["delay", "slow_commit", "late_counters"].contains(&self.fault.as_str());
        if needs_delay != self.delay.is_some() {
            let word = if needs_delay { "needs" } else { "takes no" };
            return Err(format!("fault {} {word} delay", self.fault));
        }
        match (self.fault == "error", self.status) {
            (true, Some(400..=599)) | (false, None) => Ok(()),
            (true, _) => Err("fault error needs a status from 400 to 599".into()),
            (false, Some(_)) => Err(format!("fault {} takes no status", self.fault)),
        }
    }

    fn check_operation(&self) -> std::result::Result<(), String> {
        let known = match self.service {
            _ if self.operation == "*" => true,
            Service::Kinesis => self.operation.parse::<ferrokinesis::actions::Operation>().is_ok(),
            Service::Dynamodb => DYNAMODB.contains(&self.operation.as_str()),
            Service::Snowflake => crate::snowflake::OPERATIONS.contains(&self.operation.as_str()),
        };
        if known {
            Ok(())
        } else {
            Err(format!("unknown operation '{}'", self.operation))
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

/// A rule that applies to the call at hand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) fault: String,
    pub(crate) delay: Duration,
    pub(crate) status: u16,
    pub(crate) code: String,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    seen: AtomicU64,
    fired: AtomicU64,
}

/// The rules of a running stack.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    seed: u64,
    rules: Vec<Armed>,
}

impl Faults {
    pub(crate) fn new(file: &FaultsFile) -> Self {
        let arm = |rule: &Rule| Armed {
            rule: rule.clone(),
            seen: AtomicU64::new(0),
            fired: AtomicU64::new(0),
        };
        Self {
            seed: file.seed,
            rules: file.rules.iter().map(arm).collect(),
        }
    }

    /// Whether any rule has this fault.
    pub(crate) fn has(&self, service: Service, fault: &str) -> bool {
        self.rules
            .iter()
            .any(|armed| armed.rule.service == service && armed.rule.fault == fault)
    }

    /// Whether any rule is about this service.
    pub(crate) fn concern(&self, service: Service) -> bool {
        self.rules.iter().any(|armed| armed.rule.service == service)
    }

    /// The rule with this fault that hits the call, if one does. Each call counts.
    pub(crate) fn hit(&self, service: Service, operation: &str, fault: &str) -> Option<Hit> {
        self.hits(service, operation, |name| name == fault)
            .into_iter()
            .next()
    }

    /// The generic rules that hit the call, in order.
    pub(crate) fn generic(&self, service: Service, operation: &str) -> Vec<Hit> {
        self.hits(service, operation, |name| GENERIC.contains(&name))
    }

    fn hits(&self, service: Service, operation: &str, wanted: impl Fn(&str) -> bool) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (index, armed) in self.rules.iter().enumerate() {
            let rule = &armed.rule;
            let matches = rule.service == service
                && (rule.operation == "*" || rule.operation == operation)
                && wanted(&rule.fault);
            if !matches {
                continue;
            }
            let call = armed.seen.fetch_add(1, Ordering::AcqRel);
            if call < rule.after || !chance(self.seed, index as u64, call, rule.probability) {
                continue;
            }
            let within = |fired: u64| rule.times.is_none_or(|times| fired < times).then_some(fired + 1);
            if armed
                .fired
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, within)
                .is_err()
            {
                continue;
            }
            hits.push(Hit {
                fault: rule.fault.clone(),
                delay: rule.delay.unwrap_or_default(),
                status: rule.status.unwrap_or(500),
                code: rule.code.clone().unwrap_or_else(|| "InternalFailure".to_owned()),
            });
        }
        hits
    }
}

/// SplitMix64 over seed, rule and call, as a number from 0 to 1.
fn chance(seed: u64, rule: u64, call: u64, probability: f64) -> bool {
    let mut state =
        seed ^ rule.wrapping_mul(0xA24B_AED4_963E_E407) ^ call.wrapping_mul(0x9FB2_1C65_1E98_DF25);
    state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^= state >> 31;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let drawn = (state >> 11) as f64 / (1_u64 << 53) as f64;
    drawn < probability
}

#[cfg(test)]
mod tests;
