//! What is remembered: checkpoints, pins, streams made again, rows damaged or deleted.

use super::*;
use crate::fake::{Fault, Operation};
use crate::row::name;
use crate::state::{PinnedShard, PinnedStart};
use crate::update::Purpose;

#[tokio::test]
async fn case_74_a_checkpoint_does_not_go_back() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    assert_eq!(
        a.leases.checkpoint(&tenure, up_to(10)).await,
        Ok(CheckpointOutcome::Done)
    );
    let back = a.leases.checkpoint(&tenure, up_to(9)).await;
    let expected = Error::CheckpointRegressed {
        shard: shard(0),
        stored: position(10),
        new: position(9),
    };
    assert_eq!(back, Err(expected));
    assert_eq!(
        a.leases.read(&shard(0)).await.expect("readable").position,
        Some(position(10))
    );
    assert_eq!(
        a.leases.checkpoint(&tenure, up_to(10)).await,
        Ok(CheckpointOutcome::Done),
        "equal is no step back"
    );
    assert_eq!(a.count(), 1);
}

#[tokio::test]
async fn within_a_record_the_sequence_number_stays_at_the_last_whole_one() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    assert_eq!(
        a.leases.checkpoint(&tenure, up_to(10)).await,
        Ok(CheckpointOutcome::Done)
    );
    let inside = Position {
        sub_sequence: 3,
        last: false,
        ..position(12)
    };
    let cp = Checkpoint {
        position: Some(inside.clone()),
        ..Checkpoint::default()
    };
    assert_eq!(
        a.leases.checkpoint(&tenure, cp).await,
        Ok(CheckpointOutcome::Done)
    );
    assert_eq!(world.text(0, "sequenceNumber").as_deref(), Some("10"));
    let state = a.leases.read(&shard(0)).await.expect("readable");
    assert_eq!((state.position, state.foreign_moved), (Some(inside), false));
}

#[tokio::test]
async fn case_18_a_row_that_an_operator_deleted_begins_above_the_old_epochs() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let old = a.tenure(0);
    world.table.delete(&world.scope, shard(0).as_str());
    assert_eq!(
        a.leases.checkpoint(&old, up_to(5)).await,
        Ok(CheckpointOutcome::LeaseLost)
    );
    world.run(seconds(12)).await;
    assert!(a.tenure(0).epoch > old.epoch);
}

#[tokio::test]
async fn case_37_a_damaged_row_stops_its_shard_alone() {
    let world = World::new();
    let theirs = [(name::SEQUENCE_NUMBER, Attribute::text("LATEST"))];
    world.table.put(&world.scope, shard(0).as_str(), theirs);
    let a = world.host(2).await;
    world.run(seconds(5)).await;
    assert_eq!(a.held().keys().cloned().collect::<Vec<_>>(), [shard(1)]);
    assert_eq!(a.leases.stalled()[&shard(0)].0, StallReason::Corrupt);
}

#[tokio::test]
async fn positions_of_a_stream_that_was_deleted_since_are_not_believed() {
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(1)).await;
    let end = Checkpoint {
        ended: true,
        ..up_to(500)
    };
    assert_eq!(
        a.leases.checkpoint(&a.tenure(0), end).await,
        Ok(CheckpointOutcome::Done)
    );
    a.leases.stop().await;

    let again = StreamIdentity {
        created_ms: 2000,
        ..stream()
    };
    let b = world.host_of(2, again.clone()).await;
    let states = b.leases.all_states().await.expect("readable");
    assert!(
        states
            .iter()
            .all(|state| !state.ended && state.position.is_none()),
        "{states:?}"
    );
    world.run(seconds(1)).await;
    assert_eq!(b.count(), 2);
    let state = b.leases.read(&shard(0)).await.expect("readable");
    assert_eq!(
        (state.position, state.ended, state.stream),
        (None, false, Some(again))
    );
    assert_eq!(
        b.leases.checkpoint(&b.tenure(0), up_to(3)).await,
        Ok(CheckpointOutcome::Done)
    );
    b.leases.stop().await;

    // One that still believes in the old stream, or reads another of the same name, takes nothing.
    for other in [
        stream(),
        StreamIdentity {
            arn: "arn:other".to_owned(),
            created_ms: 9000,
        },
    ] {
        let c = world.host_of(2, other).await;
        world.run(seconds(5)).await;
        assert_eq!(c.count(), 0);
        assert_eq!(c.leases.stalled()[&shard(0)].0, StallReason::Invalid);
        c.leases.stop().await;
    }
}

fn pin(start: PinnedStart, stream: StreamIdentity) -> Pin {
    Pin {
        stream,
        start,
        shards: vec![PinnedShard {
            id: shard(0),
            closed: false,
        }],
    }
}

#[tokio::test]
async fn the_first_pin_stands_for_all() {
    let world = World::new();
    let (a, b) = (world.host(1).await, world.host(1).await);
    let first = pin(PinnedStart::Latest { ms: 5 }, stream());
    world
        .table
        .fail_next(Operation::Update(Purpose::Pin), Fault::LoseAnswer);
    assert!(a.leases.pin(first.clone()).await.is_err(), "its answer was lost");
    let second = pin(PinnedStart::Latest { ms: 6 }, stream());
    assert_eq!(b.leases.pin(second.clone()).await, Ok(first.clone()));
    assert_eq!(a.leases.pin(second).await, Ok(first));
    let again = pin(
        PinnedStart::TrimHorizon,
        StreamIdentity {
            created_ms: 2000,
            ..stream()
        },
    );
    assert_eq!(
        a.leases.pin(again.clone()).await,
        Ok(again),
        "the old stream is gone"
    );
    let old = a.leases.pin(pin(PinnedStart::TrimHorizon, stream())).await;
    assert!(matches!(old, Err(Error::OtherStream { .. })), "{old:?}");
}

#[tokio::test]
async fn a_stop_mark_stays_until_it_is_taken_off() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    assert_eq!(
        a.leases.mark_stopped(&tenure, "row error", &[]).await,
        Ok(CheckpointOutcome::Done)
    );
    a.leases.stop().await;
    let b = world.host(1).await;
    world.run(seconds(1)).await;
    assert_eq!(
        b.leases.read(&shard(0)).await.expect("readable").stop.as_deref(),
        Some("row error")
    );
    assert_eq!(b.leases.resume(&shard(0), "another reason").await, Ok(false));
    assert_eq!(b.leases.resume(&shard(0), "row error").await, Ok(true));
    assert_eq!(b.leases.read(&shard(0)).await.expect("readable").stop, None);
    assert_eq!(
        b.leases.mark_stopped(&tenure, "late", &[]).await,
        Ok(CheckpointOutcome::LeaseLost)
    );
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused() {
    let world = World::new();
    let a = world.host(0).await;
    let shared = &a.leases.shared;
    for change in [
        (|o: &mut LeaseOptions| o.timeout = seconds(29)) as fn(&mut LeaseOptions),
        |o| o.look = seconds(11),
        |o| o.look = Duration::ZERO,
    ] {
        let mut options = shared.options.clone();
        change(&mut options);
        let start = LeaseCoordinator::start(
            Arc::clone(&shared.store),
            options,
            Arc::clone(&shared.clock),
            Arc::clone(&shared.random),
            shared.events.clone(),
            a.candidates.subscribe(),
        );
        assert!(matches!(start.await, Err(Error::Options { .. })));
    }
}
