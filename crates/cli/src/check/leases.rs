//! The lease table and each IAM action on it, or the state file of `leases: none`.

use std::path::Path;
use std::sync::Arc;

use frazil_lease::admin::{Layout, Table, TableAdmin};
use frazil_lease::probe::{Probe, Right, probe};
use frazil_lease::{Error, FileLeases, Scope, StreamIdentity};
use frazil_model::Clock;
use frazil_runtime::config::{ConnectorConfig, Leases};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;

use super::aws::{Seen, partition};
use super::files::{Room, room};
use super::finding::{Book, Repair, allowing};

pub(super) async fn look(book: &mut Book, connector: &ConnectorConfig, seen: &Seen, clock: &Arc<dyn Clock>) {
    match &connector.leases {
        Leases::None { state_file } => {
            let (owned, file) = (state_file.clone(), state_file.display().to_string());
            let looked = tokio::task::spawn_blocking(move || look_at(&owned)).await;
            match looked {
                Ok(outcome) => tell_file(book, &file, outcome),
                Err(error) => book.unknowable("leases.file", &file, &error.to_string()),
            }
        }
        Leases::DynamoDb if seen.lost => {
            let what = "not looked at: AWS does not answer these credentials";
            book.unknowable("leases.table", &connector.source.application_name, what);
        }
        Leases::DynamoDb => match run::leases(connector, clock).await {
            Ok((_, Some(tables))) => table(book, connector, seen, &*tables).await,
            Ok((_, None)) => {}
            Err(error) => {
                let text = error.to_string();
                let place = &connector.source.application_name;
                book.refused(run::exit_of(&error), "leases.table", place, &text, Vec::new());
            }
        },
    }
}

/// What is known of a state file.
enum FileState {
    Rows(usize),
    Absent(Room),
    Unusable(Error),
}

fn look_at(path: &Path) -> FileState {
    match FileLeases::look(path) {
        Ok(Some(rows)) => FileState::Rows(rows),
        Err(error) => FileState::Unusable(error),
        Ok(None) => FileState::Absent(room(path)),
    }
}

fn tell_file(book: &mut Book, file: &str, outcome: FileState) {
    let id = "leases.file";
    match outcome {
        FileState::Rows(rows) => book.proved(id, file, &format!("whole, with {rows} rows; one worker only")),
        FileState::Absent(Room::There) => {
            book.proved(id, file, "not there; the first start makes it. One worker only");
        }
        FileState::Absent(Room::None(why, repair)) => {
            book.refused(Exit::Failed, id, file, &why, vec![repair]);
        }
        FileState::Unusable(error) => {
            let text = error.to_string();
            let step = format!("restore {file} from a copy, or move it away to begin at initial_position");
            let exit = run::exit_of(&error.into());
            book.refused(exit, id, file, &text, vec![Repair::Step(step)]);
        }
    }
}

async fn table(book: &mut Book, connector: &ConnectorConfig, seen: &Seen, tables: &dyn TableAdmin) {
    let source = &connector.source;
    let application = &source.application_name;
    let scope = Scope {
        application: application.clone(),
        stream: source.stream.clone(),
    };
    let Probe {
        table,
        rights,
        stream,
    } = probe(tables, &scope).await;
    match &table {
        Ok(None) => book.proved("leases.table", application, "not there; the first start makes it"),
        Ok(Some(table)) => layout(book, application, table),
        Err(Error::AccessDenied { .. }) => {
            let what = "whether it is there cannot be asked without dynamodb:DescribeTable";
            book.unknowable("leases.table", application, what);
        }
        Err(error) => {
            let text = error.to_string();
            let exit = run::exit_of(&error.clone().into());
            let step = format!("look at the DynamoDB table {application}: {text}");
            book.refused(exit, "leases.table", application, &text, vec![Repair::Step(step)]);
        }
    }
    let account = seen
        .facts
        .as_ref()
        .map_or("*", |facts| facts.description.account());
    let region = &source.region;
    let arn = format!(
        "arn:{}:dynamodb:{region}:{account}:table/{application}",
        partition(region)
    );
    for (action, right) in rights {
        tell_right(book, &arn, action, right);
    }
    if let (Some(remembered), Some(facts)) = (stream, &seen.facts) {
        let here = StreamIdentity {
            arn: facts.description.arn.clone(),
            created_ms: facts.description.created_ms,
        };
        tell_stream(book, application, &remembered, &here);
    }
}

fn another_name(application: &str) -> Repair {
    Repair::Configuration {
        key: "source.application_name",
        value: format!("{application}-frazil"),
    }
}

fn layout(book: &mut Book, application: &str, table: &Table) {
    let id = "leases.table";
    match (&table.layout, &table.not_ready) {
        (_, Some(status)) => {
            let step = format!("wait until the DynamoDB table {application} is ACTIVE");
            book.warning(id, application, status, vec![Repair::Step(step)]);
        }
        (Layout::Lease, None) => {
            book.proved(id, application, "there, with the key streamName, shardId");
        }
        (Layout::ClientLibrary, None) => {
            let what = "it is the Kinesis Client Library's; the first start takes it over";
            let step = "read docs/takeover.md, and give the credentials docs/iam/policy-with-takeover.json";
            book.warning(id, application, what, vec![Repair::Step(step.to_owned())]);
        }
        (other, None) => {
            let what = format!(
                "its layout is {other}, and a lease table has the key streamName (HASH, S), shardId (RANGE, S)"
            );
            book.refused(
                Exit::Usage,
                id,
                application,
                &what,
                vec![another_name(application)],
            );
        }
    }
}

fn tell_right(book: &mut Book, arn: &str, action: &str, right: Right) {
    let id = format!("dynamodb:{action}");
    match right {
        Right::Proved => book.proved(id, arn, "allowed"),
        Right::Untried => book.unknowable(id, arn, "it cannot be tried on this table without an effect"),
        Right::Failed(error @ Error::AccessDenied { .. }) => {
            let text = error.to_string();
            let repair = vec![allowing(&id, arn, &text)];
            book.refused(Exit::Unauthorized, id, arn, &text, repair);
        }
        Right::Failed(error) => book.unknowable(id, arn, &error.to_string()),
    }
}

/// A stream of the same name that was deleted since is another one, and its memory is replaced at the next start.
fn tell_stream(book: &mut Book, application: &str, remembered: &StreamIdentity, here: &StreamIdentity) {
    let id = "leases.stream";
    if remembered == here {
        book.proved(id, application, "the table remembers this stream");
    } else if remembered.arn == here.arn && remembered.created_ms < here.created_ms {
        let what =
            "the table remembers a stream of this name that was deleted; this one begins at initial_position";
        book.warning(id, application, what, Vec::new());
    } else {
        let what = format!("the table remembers the stream {remembered}, and this is {here}");
        book.refused(
            Exit::Usage,
            id,
            application,
            &what,
            vec![another_name(application)],
        );
    }
}
