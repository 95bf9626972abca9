//! What can be wrong in AWS.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use frazil_kinesis::{ConsumerStatus, Kinesis as _, StartAt};
use frazil_lease::update::Update;
use frazil_lease::{Pin, PinnedStart, Scope, StreamIdentity};
use frazil_model::{Clock, Instant, StreamName, SystemClock};
use frazil_runtime::config::{ConnectorConfig, ConsumerType, Leases};
use frazil_runtime::exit::Exit;

use super::super::finding::{self, Finding, Repair, State};
use super::super::inspect;
use super::FEWEST;
use super::bench::{APPLICATION, Bench, STREAM, bad, ids, on_threads};

/// Each action that a connector takes, and where the right to it lies.
const ACTIONS: [(&str, &str); 12] = [
    ("kinesis", "DescribeStream"),
    ("kinesis", "ListShards"),
    ("kinesis", "GetShardIterator"),
    ("kinesis", "GetRecords"),
    ("kinesis", "DescribeStreamConsumer"),
    ("kinesis", "RegisterStreamConsumer"),
    ("kinesis", "SubscribeToShard"),
    ("dynamodb", "DescribeTable"),
    ("dynamodb", "CreateTable"),
    ("dynamodb", "Query"),
    ("dynamodb", "GetItem"),
    ("dynamodb", "UpdateItem"),
];

/// Of an action: a stream and an application of its own, which is also the name of its consumer and lease table.
fn own(action: &str) -> String {
    format!("own-{}", action.to_lowercase())
}

fn rule(service: &str, action: &str) -> String {
    let resource = own(action);
    format!("  - {{service: {service}, operation: {action}, fault: deny, resource: {resource}}}\n")
}

async fn fan_out(bench: &Bench, n: usize, action: &str) -> ConnectorConfig {
    let mut connector = bench.connector(&own(action), &format!("D{n}"), &format!("R{n}"));
    connector.source.stream = StreamName::new(own(action)).expect("a name");
    connector.source.consumer_type = ConsumerType::EnhancedFanOut;
    connector
}

/// The actions that the printed policies allow, with what they allow them on.
fn allowed(findings: &[Finding]) -> BTreeSet<(String, String)> {
    let policies = findings.iter().flat_map(|finding| &finding.repair);
    let allowed = policies.filter_map(|repair| match repair {
        Repair::Policy { action, resource } => Some((action.clone(), resource.clone())),
        _ => None,
    });
    allowed.collect()
}

#[test]
fn each_denied_action_is_named_and_its_policy_repairs_it() {
    on_threads(async {
        // What is there before the rights are taken away.
        let bench = Bench::start("").await;
        let mut whole = bench.whole(0).await;
        for (_, action) in ACTIONS {
            bench.stream(&own(action)).await;
            bench.lease_table(&own(action)).await;
            let connector = fan_out(&bench, 0, action).await;
            let kinesis = bench.kinesis(&connector).await;
            let stream = kinesis.describe_stream().await.expect("a stream");
            let made = kinesis.register_consumer(&stream.arn, &own(action)).await;
            made.expect("a consumer");
        }
        let rules: String = ACTIONS
            .iter()
            .map(|(service, action)| rule(service, action))
            .collect();
        let bench = bench.again(&format!("rules:\n{rules}")).await;
        let mut left = Vec::new();
        for (service, action) in ACTIONS {
            let connector = fan_out(&bench, 0, action).await;
            let findings = inspect(&connector, Path::new("frazil.yaml"), &super::bench::clock())
                .await
                .0;
            let id = format!("{service}:{action}");
            assert_eq!(ids(&findings), [format!("refused {id}")], "{:#?}", bad(&findings));
            assert_eq!(finding::exit(&findings), Exit::Unauthorized);
            let allowed = allowed(&findings);
            let [(told, resource)] = allowed.iter().collect::<Vec<_>>()[..] else {
                panic!("{id}: {allowed:?}");
            };
            assert_eq!(*told, id);
            let wanted = match (service, action) {
                (_, "DescribeStream") => format!("arn:aws:kinesis:us-east-1:*:stream/{}", own(action)),
                (_, "SubscribeToShard") => {
                    format!(
                        "arn:aws:kinesis:us-east-1:000000000000:stream/{}/consumer/*",
                        own(action)
                    )
                }
                ("kinesis", _) => format!("arn:aws:kinesis:us-east-1:000000000000:stream/{}", own(action)),
                _ => format!("arn:aws:dynamodb:us-east-1:000000000000:table/{}", own(action)),
            };
            assert_eq!(*resource, wanted);
            // What the policy allows is not denied any more.
            left.extend(
                ACTIONS
                    .iter()
                    .filter(|(service, other)| *other == action && format!("{service}:{other}") != *told)
                    .map(|(service, action)| rule(service, action)),
            );
        }
        let bench = bench.again(&format!("rules: [{}]", left.join(""))).await;
        for (_, action) in ACTIONS {
            let connector = fan_out(&bench, 0, action).await;
            let findings = bench.check(&connector).await;
            assert_eq!(ids(&findings), [""; 0], "{action}: {:#?}", bad(&findings));
            let unknowable: Vec<_> = findings.iter().filter(|f| f.state == State::Unknowable).collect();
            assert!(unknowable.is_empty(), "{action}: {unknowable:#?}");
        }
        // Before anything was made, the rest is proved all the same.
        whole.source.consumer_type = ConsumerType::EnhancedFanOut;
        whole.source.stream = StreamName::new(own("GetRecords")).expect("a name");
        whole.source.application_name = "new".to_owned();
        whole.source.endpoint = Some(bench.addresses.kinesis_url.clone());
        whole.source.dynamodb_endpoint = Some(bench.addresses.dynamodb_url.clone());
        whole.destination.url = Some(bench.addresses.snowflake_url.clone());
        let findings = bench.check(&whole).await;
        assert_eq!(ids(&findings), [""; 0], "{:#?}", bad(&findings));
        let unknowable = findings
            .iter()
            .filter(|finding| finding.state == State::Unknowable);
        let unknowable: Vec<&str> = unknowable.map(|finding| &*finding.id).collect();
        assert_eq!(
            unknowable,
            [
                "kinesis:RegisterStreamConsumer",
                "kinesis:SubscribeToShard",
                "dynamodb:CreateTable"
            ]
        );
    });
}

/// A shard takes one subscription of a consumer a second: the connector's own is not in the way of a check, nor the other way round.
#[test]
fn a_check_subscribes_to_no_shard_of_the_stream() {
    on_threads(async {
        let bench = Bench::start("").await;
        bench.stream(STREAM).await;
        bench.lease_table(APPLICATION).await;
        let connector = bench.whole(0).await;
        let kinesis = bench.kinesis(&connector).await;
        let stream = kinesis.describe_stream().await.expect("a stream");
        let made = kinesis.register_consumer(&stream.arn, APPLICATION).await;
        let mut consumer = made.expect("a consumer");
        let mut tries = 0;
        while consumer.status != ConsumerStatus::Active {
            let described = kinesis.describe_consumer(&stream.arn, APPLICATION).await;
            consumer = described.expect("a consumer");
            tries += 1;
            assert!(tries < 100_000, "the consumer is never ready");
        }
        let bench = bench.again_limited().await;
        let mut connector = bench.connector(APPLICATION, "D0", "R0");
        connector.source.consumer_type = ConsumerType::EnhancedFanOut;
        let kinesis = bench.kinesis(&connector).await;
        let findings = inspect(&connector, Path::new("frazil.yaml"), &super::bench::clock())
            .await
            .0;
        assert_eq!(ids(&findings), [""; 0], "{:#?}", bad(&findings));
        let tried = findings
            .iter()
            .find(|finding| finding.id == "kinesis:SubscribeToShard");
        assert_eq!(tried.map(|finding| finding.state), Some(State::Proved));
        for shard in kinesis.list_shards().await.expect("shards") {
            let subscribed = kinesis
                .subscribe(&consumer.arn, &shard.id, &StartAt::TrimHorizon)
                .await;
            assert!(subscribed.is_ok(), "{}: {:?}", shard.id, subscribed.err());
        }
    });
}

/// Each action of the printed policy is tried, but the one that only `frazil remove` takes.
#[test]
fn every_action_of_the_policy_is_tried() {
    let policy: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../docs/iam/policy.json")).expect("JSON");
    let statements = policy["Statement"].as_array().expect("statements").iter();
    let mut of_policy: BTreeSet<String> = statements
        .flat_map(|statement| statement["Action"].as_array().expect("actions"))
        .map(|action| action.as_str().expect("text").to_owned())
        .collect();
    assert!(of_policy.remove("kinesis:DeregisterStreamConsumer"));
    let tried: BTreeSet<String> = ACTIONS
        .iter()
        .map(|(service, action)| format!("{service}:{action}"))
        .collect();
    assert_eq!(tried, of_policy);
}

/// A set-up of AWS that is broken, what is found, and whether its repairs can be carried out here.
struct Broken {
    what: &'static str,
    change: fn(&mut ConnectorConfig),
    found: &'static [&'static str],
    exit: Exit,
    repaired: bool,
}

const BROKEN: [Broken; 8] = [
    Broken {
        what: "the stream is missing",
        change: |connector| connector.source.stream = StreamName::new("missing").expect("a name"),
        found: &["refused aws.stream"],
        exit: Exit::Missing,
        repaired: true,
    },
    Broken {
        what: "a table of another layout",
        change: |connector| connector.source.application_name = "foreign".to_owned(),
        found: &["refused leases.table"],
        exit: Exit::Usage,
        repaired: true,
    },
    Broken {
        what: "a table of the client library",
        change: |connector| connector.source.application_name = "library".to_owned(),
        found: &["warning leases.table"],
        exit: Exit::Done,
        repaired: false,
    },
    Broken {
        what: "a table that remembers another stream",
        change: |connector| connector.source.application_name = "elsewhere".to_owned(),
        found: &["refused leases.stream"],
        exit: Exit::Usage,
        repaired: true,
    },
    Broken {
        what: "the key of the stream",
        change: |connector| connector.source.stream = StreamName::new("sealed").expect("a name"),
        found: &["refused aws.key"],
        exit: Exit::Unauthorized,
        repaired: false,
    },
    Broken {
        what: "credentials that are none",
        change: |connector| connector.source.stream = StreamName::new("foreign").expect("a name"),
        found: &["refused aws.credentials"],
        exit: Exit::Unauthorized,
        repaired: false,
    },
    Broken {
        what: "nobody at the address",
        change: |connector| connector.source.endpoint = Some("http://127.0.0.1:9".to_owned()),
        found: &["refused aws.reach"],
        exit: Exit::Unreachable,
        repaired: false,
    },
    Broken {
        what: "no account at the address",
        change: |connector| connector.destination.url = Some("http://127.0.0.1:9".to_owned()),
        found: &["refused snowflake.reach"],
        exit: Exit::Unreachable,
        repaired: false,
    },
];

const RULES: &str = "rules:
  - {service: kinesis, operation: GetRecords, fault: error, status: 400, code: KMSAccessDeniedException, resource: sealed}
  - {service: kinesis, operation: DescribeStream, fault: error, status: 400, code: UnrecognizedClientException, resource: foreign}
";

async fn foreign_tables(bench: &Bench, connector: &ConnectorConfig) {
    for (table, keys) in [("foreign", &["id"][..]), ("library", &["leaseKey"])] {
        let attributes: Vec<_> = keys
            .iter()
            .map(|key| serde_json::json!({ "AttributeName": key, "AttributeType": "S" }))
            .collect();
        let schema: Vec<_> = keys
            .iter()
            .map(|key| serde_json::json!({ "AttributeName": key, "KeyType": "HASH" }))
            .collect();
        let body = serde_json::json!({
            "TableName": table, "AttributeDefinitions": attributes, "KeySchema": schema, "BillingMode": "PAY_PER_REQUEST",
        });
        bench.dynamodb("CreateTable", body).await;
    }
    bench.lease_table("elsewhere").await;
    let pin = Pin {
        stream: StreamIdentity {
            arn: "arn:aws:kinesis:us-east-1:000000000000:stream/other".to_owned(),
            created_ms: 1,
        },
        start: PinnedStart::TrimHorizon,
        shards: Vec::new(),
    };
    let scope = Scope {
        application: "elsewhere".to_owned(),
        stream: StreamName::new(STREAM).expect("a name"),
    };
    let tables = bench.tables(connector).await;
    let written = tables.update(&scope, &Update::pin(&pin, None, 1)).await;
    written.expect("written");
}

#[test]
fn each_broken_side_of_aws_is_named() {
    on_threads(async {
        let bench = Bench::start(RULES).await;
        for stream in [STREAM, "sealed"] {
            bench.stream(stream).await;
        }
        bench.lease_table(APPLICATION).await;
        let whole = bench.whole(0).await;
        foreign_tables(&bench, &whole).await;
        for broken in &BROKEN {
            let what = broken.what;
            let mut connector = whole.clone();
            (broken.change)(&mut connector);
            let findings = inspect(&connector, Path::new("frazil.yaml"), &super::bench::clock())
                .await
                .0;
            assert_eq!(ids(&findings), broken.found, "{what}: {:#?}", bad(&findings));
            assert_eq!(finding::exit(&findings), broken.exit, "{what}");
            if !broken.repaired {
                continue;
            }
            let steps = bench.apply(&mut connector, &findings).await;
            assert_eq!(steps, [""; 0], "{what}");
            let findings = bench.check(&connector).await;
            assert_eq!(ids(&findings), [""; 0], "{what}, repaired: {:#?}", bad(&findings));
        }
        let kms = {
            let mut connector = whole.clone();
            connector.source.stream = StreamName::new("sealed").expect("a name");
            allowed(
                &inspect(&connector, Path::new("frazil.yaml"), &super::bench::clock())
                    .await
                    .0,
            )
        };
        assert_eq!(
            kms.first().map(|(action, _)| action.as_str()),
            Some("kms:Decrypt")
        );
    });
    let all = ACTIONS.len() + BROKEN.len();
    assert!(all >= FEWEST, "{all} set-ups");
}

/// A machine's clock that goes wrong by so many milliseconds.
#[derive(Debug)]
struct Off(i64);

#[async_trait]
impl Clock for Off {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn wall_ms(&self) -> i64 {
        SystemClock.wall_ms() + self.0
    }

    async fn sleep(&self, time: std::time::Duration) {
        SystemClock.sleep(time).await;
    }
}

#[test]
fn a_clock_that_is_off_is_told_before_what_it_breaks() {
    on_threads(async {
        let bench = Bench::start("").await;
        bench.stream(STREAM).await;
        bench.lease_table(APPLICATION).await;
        let connector = bench.whole(0).await;
        for (off_ms, found) in [
            (90_000, &["warning aws.clock", "warning snowflake.clock"][..]),
            (-7_200_000, &["refused aws.clock", "warning snowflake.clock"]),
        ] {
            let clock: Arc<dyn Clock> = Arc::new(Off(off_ms));
            let findings = inspect(&connector, Path::new("frazil.yaml"), &clock).await.0;
            let told = ids(&findings);
            assert_eq!(told[..found.len()], *found, "{off_ms}: {:#?}", bad(&findings));
            // Tokens of two hours ago have expired; then the key is not blamed.
            let rest = &told[found.len()..];
            assert!(
                rest.iter().all(|id| id == "refused snowflake.login"),
                "{off_ms}: {rest:?}"
            );
            let blamed = findings.iter().flat_map(|finding| &finding.repair);
            let blamed: Vec<_> = blamed
                .filter(|repair| !matches!(repair, Repair::Step(_)))
                .collect();
            assert!(blamed.is_empty(), "{blamed:?}");
        }
    });
}

#[test]
fn the_state_file_of_one_worker_is_looked_at_and_left_alone() {
    on_threads(async {
        let bench = Bench::start("").await;
        bench.stream(STREAM).await;
        let mut connector = bench.whole(0).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("below/state.json");
        connector.leases = Leases::None {
            state_file: file.clone(),
        };
        let place = |findings: &[Finding]| {
            let found = findings.iter().find(|finding| finding.id == "leases.file");
            found.expect("a finding").clone()
        };
        let path = Path::new("frazil.yaml");
        let clock = super::bench::clock();
        let first = inspect(&connector, path, &clock).await.0;
        assert_eq!(ids(&first), [""; 0], "{:#?}", bad(&first));
        assert!(place(&first).what.starts_with("not there"), "{first:?}");
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            0,
            "nothing is made"
        );
        drop(frazil_lease::FileLeases::open(&file).expect("opened"));
        std::fs::write(&file, "{}").expect("written");
        let damaged = inspect(&connector, path, &clock).await.0;
        assert_eq!(ids(&damaged), ["refused leases.file"], "{:#?}", bad(&damaged));
        std::fs::write(&file, r#"{"format": "frazil-leases", "version": 1, "rows": []}"#).expect("written");
        let whole = inspect(&connector, path, &clock).await.0;
        assert_eq!(ids(&whole), [""; 0], "{:#?}", bad(&whole));
        // A file where a folder is wanted.
        connector.leases = Leases::None {
            state_file: file.join("state.json"),
        };
        let blocked = inspect(&connector, path, &clock).await.0;
        assert_eq!(ids(&blocked), ["refused leases.file"], "{:#?}", bad(&blocked));
    });
}
