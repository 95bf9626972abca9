use frazil_model::SeededRandom;

use super::*;
use crate::state::{Checkpoint, PinnedShard, PinnedStart, Tenure};
use crate::update::{Memory, Update};

const SEQUENCE: &str = "49590338271490256608559692538361571095921575989136588898";

fn stream() -> StreamIdentity {
    StreamIdentity {
        arn: "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks".to_owned(),
        created_ms: 1_700_000_000_123,
    }
}

fn worker_id() -> WorkerId {
    WorkerId::random(&SeededRandom::new(1))
}

fn row_of(key: &str, updates: &[Update]) -> Item {
    let mut item = Item::new();
    item.insert(name::STREAM_NAME.to_owned(), Attribute::text("clicks"));
    item.insert(name::SHARD_ID.to_owned(), Attribute::text(key));
    for update in updates {
        assert!(update.holds(&item), "{update:?} refused by {item:?}");
        update.apply(&mut item);
    }
    item
}

/// One attribute a line: name, DynamoDB type, value.
fn show(item: &Item) -> String {
    let lines = item.iter().map(|(name, value)| match value {
        Attribute::S(text) => format!("{name} S {text}\n"),
        Attribute::N(text) => format!("{name} N {text}\n"),
        Attribute::Bool(value) => format!("{name} BOOL {value}\n"),
        Attribute::Other => format!("{name} ?\n"),
    });
    lines.collect()
}

fn tenure(shard: &ShardId) -> Tenure {
    Tenure {
        shard: shard.clone(),
        epoch: 1,
        generation: 0,
    }
}

fn counted(table: &str, rows_inserted: i64) -> CountedChannel {
    CountedChannel {
        channel: ChannelMark {
            name: format!("{table}_0_0011223344556677"),
            pipe: format!("DB.PUBLIC.{table}-STREAMING"),
            created_on_ms: 1_700_000_000_456,
        },
        counters: Counters {
            rows_inserted,
            row_errors: 1,
        },
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        position: Some(Position::whole(SequenceNumber::new(SEQUENCE).expect("digits"))),
        ended: true,
        channels: vec![counted("CLICKS", 41)],
        destination: Some("ACCOUNT.DB.PUBLIC.CLICKS-STREAMING".to_owned()),
        read_until_ms: Some(1_700_000_001_999),
    }
}

fn held_row() -> (ShardId, Item) {
    let shard = ShardId::new("shardId-000000000001").expect("valid");
    let take = Update::take(
        &shard,
        None,
        Memory::Keep,
        (&worker_id(), 1),
        &stream(),
        1_700_000_001_000,
    );
    let checkpoint = Update::checkpoint(&worker_id(), &tenure(&shard), 1, &checkpoint(), 1_700_000_002_000);
    let item = row_of(shard.as_str(), &[take, checkpoint]);
    (shard, item)
}

/// Frozen: these rows stand in users' accounts.
#[test]
fn shard_row_golden() {
    let (shard, mut item) = held_row();
    let golden = "\
frazilChannel S {\"name\":\"CLICKS_0_0011223344556677\",\"pipe\":\"DB.PUBLIC.CLICKS-STREAMING\",\"created_on_ms\":1700000000456}
frazilDestination S ACCOUNT.DB.PUBLIC.CLICKS-STREAMING
frazilEpoch N 1
frazilGeneration N 0
frazilPosition S 1056495903382714902566085596925383615710959215759891365888980000000000000000000000000000001
frazilReadUntil N 1700000001999
frazilRowErrors N 1
frazilRowsInserted N 41
frazilSequence S 49590338271490256608559692538361571095921575989136588898
frazilSerial N 1
frazilShardEnd BOOL true
frazilStream S arn:aws:kinesis:eu-central-1:123456789012:stream/clicks@1700000000123
lastUpdateTimestamp N 1700000002000
leaseExpiry N 4102444800000
leaseOwner S WORKER
sequenceNumber S 49590338271490256608559692538361571095921575989136588898
shardId S shardId-000000000001
streamName S clicks
";
    assert_eq!(show(&item), golden.replace("WORKER", worker_id().as_str()));
    Update::release(&worker_id(), &tenure(&shard), 1_700_000_003_000).apply(&mut item);
    let released = golden.replace("leaseExpiry N 4102444800000\nleaseOwner S WORKER\n", "");
    assert_eq!(show(&item), released.replace("1700000002000", "1700000003000"));
}

/// Frozen, as above.
#[test]
fn worker_and_pin_rows_golden() {
    let key = format!("{WORKER_PREFIX}00ff");
    let item = row_of(
        &key,
        &[Update::claim(
            &key,
            &worker_id(),
            "host-1 (42)",
            7,
            1_700_000_000_000,
        )],
    );
    let golden = "\
frazilBeat N 7
frazilWorker S host-1 (42)
frazilWorkerId S WORKER
lastUpdateTimestamp N 1700000000000
nodeHeartbeat N 1700000000000
shardId S __node__#frazil-worker-00ff
streamName S clicks
";
    assert_eq!(show(&item), golden.replace("WORKER", worker_id().as_str()));
    let shard = |n: u32, closed| PinnedShard {
        id: ShardId::new(format!("shardId-{n:012}")).expect("valid"),
        closed,
    };
    for (start, text) in [
        (PinnedStart::TrimHorizon, "{\"at\":\"TRIM_HORIZON\"}"),
        (PinnedStart::Latest { ms: 5 }, "{\"at\":\"LATEST\",\"ms\":5}"),
        (
            PinnedStart::AtTimestamp { ms: 6 },
            "{\"at\":\"AT_TIMESTAMP\",\"ms\":6}",
        ),
    ] {
        let pin = Pin {
            stream: stream(),
            start,
            shards: vec![shard(0, true), shard(1, false)],
        };
        let item = row_of(PIN_KEY, &[Update::pin(&pin, None, 9)]);
        let golden = format!(
            "frazilPin S {{\"stream\":{{\"arn\":\"{}\",\"created_ms\":1700000000123}},\"start\":{text},\
             \"shards\":[{{\"id\":\"shardId-000000000000\",\"closed\":true}},{{\"id\":\"shardId-000000000001\"}}]}}\n\
             lastUpdateTimestamp N 9\nshardId S __node__#frazil-pin\nstreamName S clicks\n",
            stream().arn
        );
        assert_eq!(show(&item), golden);
        assert_eq!(decode(&item), Ok(Row::Pin(Box::new(pin))));
    }
}

#[test]
fn a_written_row_reads_as_written() {
    let (shard, item) = held_row();
    let Ok(Row::Shard(row)) = decode(&item) else {
        panic!("no shard row")
    };
    let expected = checkpoint();
    assert_eq!(row.holder, Holder::Worker(worker_id()));
    assert_eq!(row.serial, 1);
    let state = row.state;
    assert_eq!((state.shard, state.epoch, state.generation), (shard, 1, 0));
    assert_eq!(
        (state.position, state.ended, state.channels),
        (expected.position, true, expected.channels)
    );
    assert_eq!(state.destination, expected.destination);
    assert_eq!(
        (state.stream, state.stop, state.foreign_moved),
        (Some(stream()), None, false)
    );
}

/// Frozen, likewise.
#[test]
fn channels_of_several_tables_stand_in_one_attribute_and_a_single_one_in_its_own() {
    let (shard, mut item) = held_row();
    let read = |item: &Item| match decode(item) {
        Ok(Row::Shard(row)) => row.state.channels,
        other => panic!("no shard row: {other:?}"),
    };
    let two = Checkpoint {
        channels: vec![counted("CLICKS", 41), counted("ORDERS", 7)],
        ..Checkpoint::default()
    };
    Update::checkpoint(&worker_id(), &tenure(&shard), 2, &two, 1).apply(&mut item);
    assert_eq!(read(&item), two.channels);
    let golden = "\
frazilChannels S [{\"name\":\"CLICKS_0_0011223344556677\",\"pipe\":\"DB.PUBLIC.CLICKS-STREAMING\",\"created_on_ms\":1700000000456,\
\"rows_inserted\":41,\"row_errors\":1},{\"name\":\"ORDERS_0_0011223344556677\",\"pipe\":\"DB.PUBLIC.ORDERS-STREAMING\",\
\"created_on_ms\":1700000000456,\"rows_inserted\":7,\"row_errors\":1}]";
    let shown = show(&item);
    assert_eq!(
        shown.lines().find(|line| line.starts_with("frazilCh")),
        Some(golden)
    );
    assert!(!shown.contains("frazilRow"), "{shown}");
    // What says nothing of channels lets them stand.
    Update::checkpoint(&worker_id(), &tenure(&shard), 3, &Checkpoint::default(), 1).apply(&mut item);
    assert_eq!(read(&item), two.channels);
    Update::stop(
        &worker_id(),
        &tenure(&shard),
        "row error",
        &[counted("ORDERS", 9)],
        1,
    )
    .apply(&mut item);
    assert_eq!(read(&item), [counted("ORDERS", 9)]);
    assert!(!item.contains_key(name::CHANNELS));
}

fn openflow(attributes: &[(&str, Attribute)]) -> Item {
    let mut item = row_of("shardId-000000000001", &[]);
    item.extend(
        attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    item
}

#[test]
fn a_row_of_openflow_is_taken_over_at_its_sequence_number() {
    let item = openflow(&[
        (name::SEQUENCE_NUMBER, Attribute::text("17")),
        (
            name::LEASE_OWNER,
            Attribute::text("0b0e4b9e-7a4d-4f55-9a3b-7b0a1f2c3d4e"),
        ),
        (name::LEASE_EXPIRY, Attribute::number(1_700_000_030_000_i64)),
        (name::LAST_UPDATE, Attribute::number(1_700_000_000_000_i64)),
    ]);
    let Ok(Row::Shard(row)) = decode(&item) else {
        panic!("no shard row")
    };
    assert_eq!(
        row.holder,
        Holder::Foreign("0b0e4b9e-7a4d-4f55-9a3b-7b0a1f2c3d4e".to_owned())
    );
    assert!(row.state.foreign_moved);
    assert_eq!(
        row.state.position,
        Some(Position::whole(SequenceNumber::new("17").expect("digits")))
    );
}

#[test]
fn an_owner_without_our_mark_is_foreign_on_a_row_of_ours() {
    let (_, mut item) = held_row();
    item.insert(
        name::LEASE_EXPIRY.to_owned(),
        Attribute::number(1_700_000_030_000_i64),
    );
    let Ok(Row::Shard(row)) = decode(&item) else {
        panic!("no shard row")
    };
    assert!(matches!(row.holder, Holder::Foreign(_)));
    assert_eq!(row.state.owner, None);
}

#[test]
fn an_unreadable_attribute_damages_its_row_and_is_named() {
    for (attribute, value) in [
        (name::SEQUENCE_NUMBER, Attribute::text("TRIM_HORIZON")),
        (name::SEQUENCE_NUMBER, Attribute::number(17)),
        (name::POSITION, Attribute::text("2012")),
        (name::EPOCH, Attribute::text("1")),
        (name::EPOCH, Attribute::text("")),
        (name::EPOCH, Attribute::number("1E3")),
        (name::GENERATION, Attribute::number(-1)),
        (name::SHARD_END, Attribute::number(1)),
        (name::CHANNEL, Attribute::text("{")),
        (name::STREAM, Attribute::text("arn")),
        (name::STOP, Attribute::Other),
    ] {
        let error = decode(&openflow(&[(attribute, value.clone())])).expect_err("it cannot be read");
        assert!(
            matches!(&error, Error::RowDamaged { attribute: named, .. } if *named == attribute),
            "{error}"
        );
    }
}

#[test]
fn rows_of_other_kinds_are_no_shards() {
    for (key, attributes, row) in [
        (
            "__migration__",
            vec![("migrationStatus", Attribute::text("COMPLETE"))],
            Row::Other,
        ),
        ("__node__#0b0e", vec![], Row::Other),
        (
            "__node__#0b0e",
            vec![(name::NODE_HEARTBEAT, Attribute::number(5))],
            Row::ForeignNode {
                key: "__node__#0b0e".to_owned(),
                heartbeat: "5".to_owned(),
            },
        ),
        (
            "__node__#frazil-worker-1",
            vec![],
            Row::FreeWorker("__node__#frazil-worker-1".to_owned()),
        ),
    ] {
        let mut item = row_of(key, &[]);
        item.extend(
            attributes
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        assert_eq!(decode(&item), Ok(row));
    }
}
