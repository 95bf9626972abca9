//! One thing that was tried, what came of it, and what repairs it.

use std::borrow::Cow;

use frazil_runtime::exit::Exit;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It works.
    Proved,
    /// It cannot be tried without an effect, or not before something else is repaired.
    Unknowable,
    /// It works, and something about it may surprise.
    Warning,
    /// It does not work.
    Refused,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Unknowable => "unknowable",
            Self::Warning => "warning",
            Self::Refused => "refused",
        }
    }
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    /// The file.
    Configuration,
    /// Credentials and stream.
    Aws,
    /// The lease table, or the state file.
    Leases,
    /// Account, rights, table.
    Snowflake,
}

/// When a statement of SQL runs, so that all can be pasted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// A role is made.
    Role,
    /// A user gets a key or a role.
    User,
    /// A database is made.
    Database,
    /// A schema is made.
    Schema,
    /// A table is made.
    Table,
    /// A pipe is made.
    Pipe,
    /// A right is given.
    Grant,
    /// Something that is there is changed.
    Alter,
}

/// What repairs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repair {
    /// A key of the connector gets a value.
    Configuration {
        /// The key, from the connector on.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// An IAM action is allowed.
    Policy {
        /// The action, with its service.
        action: String,
        /// The ARN.
        resource: String,
    },
    /// A command of the shell.
    Shell(String),
    /// A statement, for a role that may give it.
    Sql(Stage, String),
    /// Something for a person to do.
    Step(String),
}

/// What lets an action be taken that was refused with these words. No policy outweighs an explicit deny (AWS Identity and Access
/// Management user guide, "Policy evaluation logic").
pub(super) fn allowing(action: &str, resource: &str, words: &str) -> Repair {
    if words.contains("explicit deny") {
        return Repair::Step(format!("take away the explicit deny of {action} on {resource}"));
    }
    Repair::Policy {
        action: action.to_owned(),
        resource: resource.to_owned(),
    }
}

/// A policy statement that allows these.
pub(super) fn policy_statement(actions: &[&str], resource: &str) -> serde_json::Value {
    serde_json::json!({ "Effect": "Allow", "Action": actions, "Resource": resource })
}

impl Serialize for Repair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, text) = match self {
            Self::Configuration { key, value } => ("configuration", format!("{key}: {value}")),
            Self::Policy { action, resource } => ("iam", policy_statement(&[action], resource).to_string()),
            Self::Shell(text) => ("shell", text.clone()),
            Self::Sql(_, text) => ("sql", format!("{text};")),
            Self::Step(text) => ("step", text.clone()),
        };
        let mut repair = serializer.serialize_struct("Repair", 2)?;
        repair.serialize_field("kind", kind)?;
        repair.serialize_field("text", &text)?;
        repair.end()
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was tried; one of those that the page of this verb describes.
    pub(crate) id: Cow<'static, str>,
    /// What came of it.
    pub(crate) state: State,
    /// In words.
    pub(crate) what: String,
    /// The object it is about.
    #[serde(rename = "where")]
    pub(crate) place: String,
    /// What repairs it, in order.
    pub(crate) repair: Vec<Repair>,
    /// The connector; empty where the whole file is meant.
    pub(crate) connector: String,
    /// What it belongs to.
    pub(crate) group: Group,
    /// How the process ends if this is the worst.
    #[serde(skip)]
    pub(crate) exit: Exit,
}

/// The exit of the first of the worst.
pub(super) fn exit(findings: &[Finding]) -> Exit {
    let refused = findings.iter().find(|finding| finding.state == State::Refused);
    refused.map_or(Exit::Done, |finding| finding.exit)
}

/// Findings of one connector, as they come.
#[derive(Debug)]
pub(super) struct Book {
    connector: String,
    group: Group,
    findings: Vec<Finding>,
}

type Id = Cow<'static, str>;

impl Book {
    pub(super) fn new(connector: &str) -> Self {
        Self {
            connector: connector.to_owned(),
            group: Group::Configuration,
            findings: Vec::new(),
        }
    }

    /// What follows belongs to this.
    pub(super) fn enter(&mut self, group: Group) {
        self.group = group;
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Whether something of the present group was refused.
    pub(super) fn has_refused(&self) -> bool {
        let refused = |finding: &Finding| finding.group == self.group && finding.state == State::Refused;
        self.findings.iter().any(refused)
    }

    fn add(&mut self, state: State, exit: Exit, id: Id, place: &str, what: &str, repair: Vec<Repair>) {
        self.findings.push(Finding {
            id,
            state,
            what: what.to_owned(),
            place: place.to_owned(),
            repair,
            connector: self.connector.clone(),
            group: self.group,
            exit,
        });
    }

    pub(super) fn proved(&mut self, id: impl Into<Id>, place: &str, what: &str) {
        self.add(State::Proved, Exit::Done, id.into(), place, what, Vec::new());
    }

    pub(super) fn unknowable(&mut self, id: impl Into<Id>, place: &str, what: &str) {
        self.add(State::Unknowable, Exit::Done, id.into(), place, what, Vec::new());
    }

    pub(super) fn warning(&mut self, id: impl Into<Id>, place: &str, what: &str, repair: Vec<Repair>) {
        self.add(State::Warning, Exit::Done, id.into(), place, what, repair);
    }

    pub(super) fn refused(
        &mut self,
        exit: Exit,
        id: impl Into<Id>,
        place: &str,
        what: &str,
        repair: Vec<Repair>,
    ) {
        self.add(State::Refused, exit, id.into(), place, what, repair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_deny_is_not_met_with_a_policy() {
        let words = "is not authorized to perform: kinesis:GetRecords with an explicit deny in a service control policy";
        assert!(matches!(
            allowing("kinesis:GetRecords", "arn", words),
            Repair::Step(_)
        ));
        let words = "because no identity-based policy allows the kinesis:GetRecords action";
        assert!(matches!(
            allowing("kinesis:GetRecords", "arn", words),
            Repair::Policy { .. }
        ));
    }
}
