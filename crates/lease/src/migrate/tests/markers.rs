use super::*;
use crate::row::{ShardRow, name};
use crate::store::Written;
use crate::update::{Memory, Update};

fn row(sequence: &str) -> plan::NewRow {
    let position = Attribute::text(inside(sequence, 0).token());
    (shard(0).to_string(), vec![(name::POSITION, position)])
}

fn ended() -> plan::NewRow {
    (
        shard(0).to_string(),
        vec![(name::SHARD_END, Attribute::Bool(true))],
    )
}

fn shard_row(table: &MemoryLeases) -> ShardRow {
    match decode(&table.peek(&scope(), shard(0).as_str()).expect("a row")) {
        Ok(Row::Shard(row)) => *row,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn case_82_a_late_write_of_an_earlier_attempt_changes_nothing() {
    let table = MemoryLeases::default();
    let scope = scope();
    assert_eq!(
        table.update(&scope, &marker::copy(&row("5"), 1)).await,
        Ok(Written::Done)
    );
    assert_eq!(
        table.update(&scope, &marker::copy(&ended(), 2)).await,
        Ok(Written::Done)
    );
    let state = shard_row(&table).state;
    assert!(
        state.ended && state.position.is_none(),
        "nothing of the earlier attempt is left"
    );
    let late = table.update(&scope, &marker::copy(&row("5"), 1)).await;
    assert!(matches!(late, Ok(Written::Refused(_))));
}

#[tokio::test]
async fn case_82_nor_does_one_that_comes_after_a_worker_took_the_shard() {
    let table = MemoryLeases::default();
    let scope = scope();
    let copy = marker::copy(&row("5"), 1);
    assert_eq!(table.update(&scope, &copy).await, Ok(Written::Done));
    let worker = WorkerId::random(&SeededRandom::new(1));
    let take = Update::take(
        &shard(0),
        Some(&shard_row(&table)),
        Memory::Keep,
        (&worker, 1),
        &identity(),
        5,
    );
    assert_eq!(table.update(&scope, &take).await, Ok(Written::Done));
    // The very same request, sent a second time by the network.
    assert!(matches!(
        table.update(&scope, &copy).await,
        Ok(Written::Refused(_))
    ));
    let restore = marker::restore(&row("5"));
    assert!(matches!(
        table.update(&scope, &restore).await,
        Ok(Written::Refused(_))
    ));
}

#[tokio::test]
async fn case_83_a_marker_is_taken_over_only_as_it_was_seen() {
    let table = MemoryLeases::default();
    let scope = scope();
    let (one, two) = (
        WorkerId::random(&SeededRandom::new(1)),
        WorkerId::random(&SeededRandom::new(2)),
    );
    let (mut first, claim) = marker::claim(None, &one, true);
    assert_eq!(table.update(&scope, &claim).await, Ok(Written::Done));
    let (_, rival) = marker::claim(None, &two, true);
    assert!(matches!(
        table.update(&scope, &rival).await,
        Ok(Written::Refused(_))
    ));
    let seen = first.clone();
    first.beat += 1;
    assert_eq!(
        table.update(&scope, &marker::beat(&first, None)).await,
        Ok(Written::Done)
    );
    let (_, late) = marker::claim(Some(&seen), &two, true);
    assert!(
        matches!(table.update(&scope, &late).await, Ok(Written::Refused(_))),
        "it has beaten since"
    );
    let (_, takes) = marker::claim(Some(&first), &two, true);
    assert_eq!(table.update(&scope, &takes).await, Ok(Written::Done));
    first.beat += 1;
    let overtaken = table.update(&scope, &marker::beat(&first, None)).await;
    assert!(matches!(overtaken, Ok(Written::Refused(_))));
}
