//! What can be wrong in Snowflake.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::{Clock, Instant, SystemClock};
use frazil_runtime::config::{ConnectorConfig, Target};
use frazil_runtime::exit::Exit;

use super::super::finding::{self, Repair};
use super::super::inspect;
use super::FEWEST;
use super::bench::{APPLICATION, Bench, STREAM, bad, ids, numbered, on_threads};
use super::cases::{Broken, FOREIGN_KEY, PIPE, of_names, of_rights, of_tables, pipe};

/// Repairs as the cases write them.
fn told(repair: &Repair) -> Option<String> {
    match repair {
        Repair::Sql(_, text) => Some(text.clone()),
        Repair::Configuration { key, value } => Some(format!("{key}: {value}")),
        _ => None,
    }
}

async fn bench() -> Bench {
    let bench = Bench::start("").await;
    bench.stream(STREAM).await;
    bench.lease_table(APPLICATION).await;
    bench
}

async fn try_one(bench: &Bench, n: usize, broken: &Broken) {
    let what = broken.what;
    let mut connector = bench.whole(n).await;
    let whole = bench.check_snowflake(&connector).await;
    assert_eq!(ids(&whole), [""; 0], "{what}: whole before it is broken");
    (broken.change)(&mut connector);
    for statement in broken.sql {
        bench
            .sql(&numbered(statement, n).replace("{key}", FOREIGN_KEY))
            .await;
    }
    if what.contains("no default one") {
        let key = own_key(&connector);
        bench
            .sql(&numbered(
                &format!("ALTER USER U{{n}} SET RSA_PUBLIC_KEY = '{key}'"),
                n,
            ))
            .await;
    }
    let findings = bench.check_snowflake(&connector).await;
    assert_eq!(ids(&findings), broken.found, "{what}: {:#?}", bad(&findings));
    assert_eq!(finding::exit(&findings), broken.exit, "{what}");
    let repairs = findings.iter().flat_map(|finding| &finding.repair);
    let repairs: Vec<String> = repairs.filter_map(told).collect();
    let own = own_key(&connector);
    let wanted: Vec<String> = broken
        .repair
        .iter()
        .map(|text| numbered(text, n).replace("{own key}", &own))
        .collect();
    assert_eq!(repairs, wanted, "{what}");
    let steps = bench.apply(&mut connector, &findings).await;
    assert_eq!(steps.is_empty(), broken.by_hand.is_empty(), "{what}: {steps:?}");
    for statement in broken.by_hand {
        bench.sql(&numbered(statement, n)).await;
    }
    let findings = bench.check_snowflake(&connector).await;
    assert_eq!(ids(&findings), [""; 0], "{what}, repaired: {:#?}", bad(&findings));
}

fn own_key(connector: &ConnectorConfig) -> String {
    let config = frazil_runtime::run::snowflake(&connector.destination);
    frazil_snowflake::probe::public_key(&config).expect("a key")
}

#[test]
fn each_broken_set_up_is_named_and_repaired_by_its_own_statements() {
    let all: Vec<Broken> = [of_rights(), of_names(), of_tables()]
        .into_iter()
        .flatten()
        .collect();
    assert!(all.len() >= FEWEST, "{} set-ups", all.len());
    on_threads(async {
        let bench = bench().await;
        for (n, broken) in all.iter().enumerate() {
            try_one(&bench, n, broken).await;
        }
    });
}

#[test]
fn whole_set_ups_have_no_finding() {
    on_threads(async {
        let bench = bench().await;
        let mut connector = bench.whole(0).await;
        let mut proved = 0;
        for statements in [
            &[][..],
            // Who owns a table needs no grant on it.
            &["GRANT OWNERSHIP ON TABLE D0.S.T TO ROLE R0 REVOKE CURRENT GRANTS"],
            &[
                "GRANT CREATE INTERACTIVE TABLE ON SCHEMA D0.S TO ROLE ACCOUNTADMIN",
                "CREATE INTERACTIVE TABLE D0.S.LIVE (KINESISMETADATA OBJECT, N NUMBER) CLUSTER BY (N) \
                 ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE",
                "GRANT INSERT, EVOLVE SCHEMA ON TABLE D0.S.LIVE TO ROLE R0",
            ],
        ] {
            for statement in statements {
                bench.sql(statement).await;
                if statement.contains("LIVE") {
                    connector.destination.target = Target::Table("LIVE".to_owned());
                }
            }
            let findings = bench.check(&connector).await;
            assert_eq!(ids(&findings), [""; 0], "{statements:?}: {:#?}", bad(&findings));
            let unknowable: Vec<_> = findings
                .iter()
                .filter(|finding| finding.state == finding::State::Unknowable)
                .collect();
            assert!(unknowable.is_empty(), "{unknowable:#?}");
            proved += findings.len();
        }
        assert!(proved >= 75, "{proved} findings");
    });
}

/// A clock whose pauses pass fifty times as fast.
#[derive(Debug)]
struct Hurried;

#[async_trait]
impl Clock for Hurried {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn wall_ms(&self) -> i64 {
        SystemClock.wall_ms()
    }

    async fn sleep(&self, time: Duration) {
        SystemClock.sleep(time / 50).await;
    }
}

#[test]
fn what_the_service_itself_refuses_is_told_with_its_words() {
    on_threads(async {
        let mut bench = bench().await;
        bench.whole(0).await;
        for statement in [PIPE, "GRANT OPERATE ON PIPE D{n}.S.P TO ROLE R{n}"] {
            bench.sql(&numbered(statement, 0)).await;
        }
        let cases = [
            (
                "hostname, fault: unavailable",
                "refused snowflake.ingest",
                Exit::Unreachable,
            ),
            (
                "oauth_token, fault: error, status: 401, code: '390303'",
                "refused snowflake.ingest",
                Exit::Unauthorized,
            ),
            (
                "channel_status, fault: error, status: 404, code: ERR_TABLE_DOES_NOT_EXIST_NOT_AUTHORIZED",
                "refused snowflake.ingest",
                Exit::Missing,
            ),
            // A service that is busy for minutes is not waited for.
            (
                "statements, fault: unavailable",
                "refused snowflake.login",
                Exit::Unreachable,
            ),
            // A network policy is not met with a new key.
            (
                "statements, fault: error, status: 403, code: '390420'",
                "refused snowflake.login",
                Exit::Unauthorized,
            ),
        ];
        for (rule, id, exit) in cases {
            bench = bench
                .again(&format!("rules: [{{service: snowflake, operation: {rule}}}]"))
                .await;
            let mut connector = bench.connector(APPLICATION, "D0", "R0");
            pipe(&mut connector);
            let clock: Arc<dyn Clock> = Arc::new(Hurried);
            let findings = inspect(&connector, Path::new("frazil.yaml"), &clock).await.0;
            assert_eq!(ids(&findings), [id], "{rule}: {:#?}", bad(&findings));
            assert_eq!(finding::exit(&findings), exit, "{rule}");
            let mut repairs = findings.iter().flat_map(|finding| &finding.repair);
            assert!(
                repairs.all(|repair| told(repair).is_none()),
                "{rule}: {:#?}",
                bad(&findings)
            );
        }
        // With none of these the pipe itself was asked, and let the role in.
        bench = bench.again("").await;
        let mut connector = bench.connector(APPLICATION, "D0", "R0");
        pipe(&mut connector);
        let findings = bench.check(&connector).await;
        let asked = findings.iter().find(|finding| finding.id == "snowflake.ingest");
        let asked = asked.expect("a finding");
        assert!(asked.what.ends_with("the role on the pipe"), "{asked:?}");
    });
}
