//! The format of the faults file is frozen: users keep such files.

use super::*;
use crate::aws::named::Named;

const GOLDEN: &str = "
seed: 7
rules:
  - service: snowflake
    operation: append_rows
    fault: lost_answer
    probability: 0.25
    after: 10
    times: 3
  - {service: kinesis, operation: GetRecords, fault: error, status: 400, code: ProvisionedThroughputExceededException}
  - {service: dynamodb, fault: delay, delay: 200ms}
  - {service: snowflake, operation: commit, fault: slow_commit, delay: 5s}
  - {service: snowflake, operation: channel_status, fault: late_counters, delay: 1m}
  - {service: snowflake, fault: stale_on_replay}
  - {service: snowflake, operation: restart, fault: lose_accepted}
";

fn rule(service: Service, operation: &str, fault: &str) -> Rule {
    Rule {
        service,
        operation: operation.into(),
        fault: fault.into(),
        probability: 1.0,
        after: 0,
        times: None,
        delay: None,
        status: None,
        code: None,
        bytes: None,
        share: None,
        retry_after: None,
        resource: None,
    }
}

#[test]
fn golden_file_reads_as_ever() {
    let file = FaultsFile::parse(GOLDEN).unwrap();
    let expected = FaultsFile {
        seed: 7,
        rules: vec![
            Rule {
                probability: 0.25,
                after: 10,
                times: Some(3),
                ..rule(Service::Snowflake, "append_rows", "lost_answer")
            },
            Rule {
                status: Some(400),
                code: Some("ProvisionedThroughputExceededException".into()),
                ..rule(Service::Kinesis, "GetRecords", "error")
            },
            Rule {
                delay: Some(Duration::from_millis(200)),
                ..rule(Service::Dynamodb, "*", "delay")
            },
            Rule {
                delay: Some(Duration::from_secs(5)),
                ..rule(Service::Snowflake, "commit", "slow_commit")
            },
            Rule {
                delay: Some(Duration::from_secs(60)),
                ..rule(Service::Snowflake, "channel_status", "late_counters")
            },
            rule(Service::Snowflake, "*", "stale_on_replay"),
            rule(Service::Snowflake, "restart", "lose_accepted"),
        ],
    };
    assert_eq!(file, expected);
}

#[test]
fn wrong_rule_is_refused_with_its_reason() {
    let cases = [
        ("{service: snowflake, fault: lost_answer, often: 3}", "often"),
        ("{service: s3, fault: lost_answer}", "s3"),
        (
            "{service: kinesis, fault: slow_commit, delay: 1s}",
            "for service snowflake",
        ),
        (
            "{service: snowflake, operation: commit, fault: late_counters, delay: 1s}",
            "for operation channel_status",
        ),
        (
            "{service: kinesis, operation: GetRecord, fault: lost_answer}",
            "unknown operation 'GetRecord'",
        ),
        (
            "{service: dynamodb, operation: GetRecords, fault: lost_answer}",
            "unknown operation 'GetRecords'",
        ),
        (
            "{service: snowflake, operation: append, fault: lost_answer}",
            "unknown operation 'append'",
        ),
        ("{service: snowflake, fault: explode}", "unknown fault 'explode'"),
        ("{service: snowflake, fault: delay}", "needs delay"),
        (
            "{service: snowflake, fault: lost_answer, delay: 1s}",
            "takes no delay",
        ),
        ("{service: snowflake, fault: delay, delay: 10}", "no duration"),
        ("{service: snowflake, fault: error}", "needs a status"),
        (
            "{service: snowflake, fault: error, status: 200}",
            "needs a status",
        ),
        (
            "{service: snowflake, fault: lost_answer, status: 500}",
            "takes no status",
        ),
        (
            "{service: snowflake, fault: lost_answer, probability: 1.5}",
            "not between 0 and 1",
        ),
    ];
    for (rule, reason) in cases {
        let error = FaultsFile::parse(&format!("rules:\n  - {rule}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{rule}: {error}");
    }
}

#[test]
fn rule_spares_first_calls_and_ends_after_its_times() {
    let rule = Rule {
        after: 2,
        times: Some(2),
        ..rule(Service::Kinesis, "PutRecords", "lost_answer")
    };
    let faults = Faults::new(&FaultsFile {
        seed: 0,
        rules: vec![rule],
    });
    let hits: Vec<bool> = (0..6)
        .map(|_| {
            !faults
                .layered(Service::Kinesis, "PutRecords", &Named::default())
                .is_empty()
        })
        .collect();
    assert_eq!(hits, [false, false, true, true, false, false]);
    assert!(
        faults
            .layered(Service::Kinesis, "GetRecords", &Named::default())
            .is_empty()
    );
    assert!(
        faults
            .layered(Service::Dynamodb, "PutRecords", &Named::default())
            .is_empty()
    );
}

#[test]
fn same_seed_makes_the_same_choices_at_about_the_wanted_rate() {
    let draw = |seed| {
        let rule = Rule {
            probability: 0.2,
            ..rule(Service::Kinesis, "*", "lost_answer")
        };
        let faults = Faults::new(&FaultsFile {
            seed,
            rules: vec![rule],
        });
        (0..1000)
            .map(|_| {
                !faults
                    .layered(Service::Kinesis, "GetRecords", &Named::default())
                    .is_empty()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
    let hits = draw(5).into_iter().filter(|hit| *hit).count();
    assert!((150..250).contains(&hits), "{hits}");
}
