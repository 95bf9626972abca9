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
        contains: None,
        token: None,
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
        ("{service: snowflake, fault: refuse_rows}", "needs contains"),
        (
            "{service: snowflake, fault: remove_channel, token: a}",
            "takes no token",
        ),
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
        ("{service: kinesis, fault: cut}", "needs bytes"),
        (
            "{service: kinesis, fault: delay, delay: 1s, bytes: 3}",
            "takes no bytes",
        ),
        ("{service: dynamodb, fault: partial}", "for service kinesis"),
        (
            "{service: kinesis, operation: PutRecord, fault: partial}",
            "for operation PutRecords",
        ),
        (
            "{service: kinesis, fault: partial, share: 2.0}",
            "share 2 is not between",
        ),
        ("{service: kinesis, fault: stale}", "needs delay"),
        (
            "{service: kinesis, operation: DescribeStream, fault: stale, delay: 1s}",
            "for operation ListShards",
        ),
        (
            "{service: kinesis, operation: GetShardIterator, fault: expire_iterator}",
            "for operation GetRecords",
        ),
        (
            "{service: kinesis, fault: throttle, retry_after: 1s}",
            "takes no retry_after",
        ),
        ("{service: kinesis, fault: throttle, code: X}", "takes no code"),
        (
            "{service: snowflake, fault: take_channel, code: X}",
            "takes no code",
        ),
        (
            "{service: snowflake, operation: open_channel, fault: remove_channel}",
            "for operation append_rows",
        ),
        (
            "{service: snowflake, fault: deny}",
            "for service kinesis, dynamodb",
        ),
        (
            "{service: snowflake, fault: throttle, resource: t}",
            "takes no resource",
        ),
        (
            "{service: snowflake, operation: open_channel, fault: invalidate_channel}",
            "for operation append_rows",
        ),
        (
            "{service: snowflake, operation: hostname, fault: expire_token}",
            "for operation pipe_info",
        ),
        (
            "{service: snowflake, fault: unavailable, retry_after: 3}",
            "no duration",
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

const NEWER: &str = "
rules:
  - {service: kinesis, operation: GetRecords, fault: expire_iterator}
  - {service: kinesis, operation: SubscribeToShard, fault: cut, bytes: 5000}
  - {service: kinesis, operation: ListShards, fault: stale, delay: 30s}
  - {service: kinesis, operation: PutRecords, fault: partial, share: 0.25, code: InternalFailure}
  - {service: dynamodb, operation: UpdateItem, fault: deny, resource: leases}
  - {service: snowflake, operation: append_rows, fault: throttle, retry_after: 2s}
  - {service: snowflake, fault: unavailable}
  - {service: snowflake, fault: stale_continuation}
  - {service: snowflake, fault: open_in_progress}
  - {service: snowflake, fault: invalidate_channel}
  - {service: snowflake, fault: expire_token}
  - {service: snowflake, operation: channel_status, fault: invalidate_channel, code: ERR_X}
  - {service: snowflake, operation: append_rows, fault: take_channel}
  - {service: snowflake, fault: remove_channel}
  - {service: dynamodb, operation: UpdateItem, fault: lost_request}
";

#[test]
fn newer_faults_read_as_ever() {
    let rules = FaultsFile::parse(NEWER).unwrap().rules;
    let expected = [
        rule(Service::Kinesis, "GetRecords", "expire_iterator"),
        Rule {
            bytes: Some(5000),
            ..rule(Service::Kinesis, "SubscribeToShard", "cut")
        },
        Rule {
            delay: Some(Duration::from_secs(30)),
            ..rule(Service::Kinesis, "ListShards", "stale")
        },
        Rule {
            share: Some(0.25),
            code: Some("InternalFailure".into()),
            ..rule(Service::Kinesis, "PutRecords", "partial")
        },
        Rule {
            resource: Some("leases".into()),
            ..rule(Service::Dynamodb, "UpdateItem", "deny")
        },
        Rule {
            retry_after: Some(Duration::from_secs(2)),
            ..rule(Service::Snowflake, "append_rows", "throttle")
        },
        rule(Service::Snowflake, "*", "unavailable"),
        rule(Service::Snowflake, "*", "stale_continuation"),
        rule(Service::Snowflake, "*", "open_in_progress"),
        rule(Service::Snowflake, "*", "invalidate_channel"),
        rule(Service::Snowflake, "*", "expire_token"),
        Rule {
            code: Some("ERR_X".into()),
            ..rule(Service::Snowflake, "channel_status", "invalidate_channel")
        },
        rule(Service::Snowflake, "append_rows", "take_channel"),
        rule(Service::Snowflake, "*", "remove_channel"),
        rule(Service::Dynamodb, "UpdateItem", "lost_request"),
    ];
    assert_eq!(rules, expected);
}

#[test]
fn a_rule_counts_the_calls_it_is_about_and_those_it_hit() {
    let rules = [
        Rule {
            after: 1,
            resource: Some("a".into()),
            ..rule(Service::Kinesis, "*", "throttle")
        },
        rule(Service::Kinesis, "*", "expire_iterator"),
    ];
    let faults = Faults::new(&FaultsFile {
        seed: 0,
        rules: rules.into(),
    });
    let on = |stream: &str| Named {
        stream: Some(stream.to_owned()),
        ..Named::default()
    };
    for stream in ["a", "b", "a", "b", "a"] {
        faults.layered(Service::Kinesis, "ListShards", &on(stream));
    }
    let fired = faults.fired();
    let counts: Vec<(usize, u64, u64)> = fired.iter().map(|f| (f.rule, f.calls, f.fired)).collect();
    assert_eq!(counts, [(1, 3, 2), (2, 0, 0)]);
}

#[test]
fn a_call_that_one_rule_answers_is_not_counted_by_the_rules_behind_it() {
    let rules = vec![
        Rule {
            delay: Some(Duration::from_secs(1)),
            ..rule(Service::Kinesis, "*", "delay")
        },
        Rule {
            times: Some(1),
            ..rule(Service::Kinesis, "*", "throttle")
        },
        Rule {
            times: Some(1),
            ..rule(Service::Kinesis, "*", "lost_answer")
        },
    ];
    let faults = Faults::new(&FaultsFile { seed: 0, rules });
    let call = || {
        let hits = faults.layered(Service::Kinesis, "ListShards", &Named::default());
        hits.into_iter().map(|hit| hit.fault).collect::<Vec<_>>()
    };
    assert_eq!(call(), ["delay", "throttle"]);
    assert_eq!(call(), ["delay", "lost_answer"]);
    assert_eq!(call(), ["delay"]);
    let counts: Vec<u64> = faults.fired().iter().map(|fired| fired.fired).collect();
    assert_eq!(counts, [3, 1, 1]);
}

#[test]
fn a_share_draws_the_same_parts_again_and_others_for_each_call() {
    let faults = || {
        Faults::new(&FaultsFile {
            seed: 9,
            rules: vec![Rule {
                share: Some(0.3),
                ..rule(Service::Kinesis, "PutRecords", "partial")
            }],
        })
    };
    let parts = |hits: Vec<Hit>| (0..500).map(|part| hits[0].draws(part)).collect::<Vec<_>>();
    let call = |faults: &Faults| parts(faults.layered(Service::Kinesis, "PutRecords", &Named::default()));
    let (one, other) = (faults(), faults());
    let (first, second) = (call(&one), call(&one));
    assert_eq!((&first, &second), (&call(&other), &call(&other)));
    assert_ne!(first, second);
    let drawn = first.iter().filter(|drawn| **drawn).count();
    assert!((110..190).contains(&drawn), "{drawn}");
}
