use super::*;
use crate::state::{SequenceDigits, ShardStart};

/// One attribute a line: name, value.
fn show(item: &Item) -> String {
    let lines = item.iter().map(|(name, value)| match value {
        Attribute::S(text) | Attribute::N(text) => format!("{name} {text}\n"),
        other => format!("{name} {other:?}\n"),
    });
    lines.collect()
}

/// Frozen: such rows stand in users' accounts, and a later version may have to finish what an earlier one began.
#[tokio::test]
async fn takeover_rows_golden() {
    let world = World::new(Layout::ClientLibrary, usual());
    let options = MigrateOptions {
        application: "frazil".to_owned(),
        ..World::options(1)
    };
    let worker = options.worker.to_string();
    assert!(world.carry_out(options).await.is_ok());
    let new = Scope {
        application: "frazil".to_owned(),
        ..scope()
    };
    let rows = world.table.rows(&new, "").await.expect("readable");
    let rows: Vec<String> = rows.iter().map(show).collect();
    let stream = "frazilStream arn:aws:kinesis:eu-central-1:123456789012:stream/clicks@1600000000123";
    let tail = |n| format!("{stream}\nshardId shardId-00000000000{n}\nstreamName clicks\n");
    let whole = format!(
        "frazilMigrationAttempt 1\nfrazilPosition 10044960{}\nfrazilSequence 4960\n{stream}\nsequenceNumber 4960\n\
         shardId shardId-000000000002\nstreamName clicks\n",
        "0".repeat(31)
    );
    let marker = format!(
        "frazilMigration COPIED\nfrazilMigrationAttempt 1\nfrazilMigrationBeat 3\nfrazilMigrationRows 1/4\n\
         frazilMigrationWorker {worker}\nshardId __migration__\nstreamName clicks\n"
    );
    let inside = format!("10044950{:020}{:010}0", 3, 0);
    assert_eq!(rows[0], marker);
    assert!(
        rows[1].starts_with("frazilPin {\"stream\":{\"arn\":"),
        "{}",
        rows[1]
    );
    assert_eq!(
        rows[2],
        format!("frazilMigrationAttempt 1\nfrazilShardEnd Bool(true)\n{}", tail(0))
    );
    assert_eq!(
        rows[3],
        format!("frazilMigrationAttempt 1\nfrazilPosition {inside}\n{}", tail(1))
    );
    assert_eq!(rows[4], whole);
    let start = "frazilStart {\"at\":\"LATEST\",\"ms\":1700000000000}";
    assert_eq!(rows[5], format!("frazilMigrationAttempt 1\n{start}\n{}", tail(3)));
}

/// Frozen, as above.
#[test]
fn shard_start_golden() {
    let sequence = SequenceDigits(SequenceNumber::new("4950").expect("digits"));
    for (start, golden) in [
        (ShardStart::TrimHorizon, r#"{"at":"TRIM_HORIZON"}"#),
        (ShardStart::Latest { ms: 5 }, r#"{"at":"LATEST","ms":5}"#),
        (
            ShardStart::AtTimestamp { ms: 5 },
            r#"{"at":"AT_TIMESTAMP","ms":5}"#,
        ),
        (
            ShardStart::AtSequenceNumber { sequence },
            r#"{"at":"AT_SEQUENCE_NUMBER","sequence":"4950"}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&start).expect("JSON"), golden);
        assert_eq!(serde_json::from_str::<ShardStart>(golden).expect("read"), start);
    }
    let damaged = r#"{"at":"AT_SEQUENCE_NUMBER","sequence":"49x"}"#;
    assert!(serde_json::from_str::<ShardStart>(damaged).is_err());
}
