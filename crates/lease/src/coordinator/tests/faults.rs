//! Lost answers, silence, lateness.

use super::*;
use crate::fake::{Fault, Operation};
use crate::update::Purpose;

#[tokio::test]
async fn case_6_a_take_whose_answer_was_lost_is_recognised() {
    let world = World::new();
    world
        .table
        .fail_next(Operation::Update(Purpose::Take), Fault::LoseAnswer);
    let a = world.host(1).await;
    world.run(seconds(5)).await;
    assert_eq!(a.tenure(0).epoch, 1);
    assert_eq!(
        world.table.count(Operation::Update(Purpose::Take)),
        1,
        "it took its own shard again"
    );
}

#[tokio::test]
async fn case_6_a_claim_and_a_beat_whose_answers_were_lost_are_recognised() {
    let world = World::new();
    world
        .table
        .fail_next(Operation::Update(Purpose::Beat), Fault::LoseAnswer);
    let a = world.host(1).await;
    world.run(seconds(15)).await;
    world
        .table
        .fail_next(Operation::Update(Purpose::Beat), Fault::LoseAnswer);
    world.run(seconds(30)).await;
    assert_eq!(a.count(), 1);
    let workers = a.leases.workers().await.expect("readable");
    assert_eq!(workers.len(), 1, "a second row was claimed");
    assert_eq!(workers[0].worker, *a.leases.worker());
}

#[tokio::test]
async fn case_6_a_checkpoint_whose_answer_was_lost_is_recognised() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    world
        .table
        .fail_next(Operation::Update(Purpose::Checkpoint), Fault::LoseAnswer);
    let (done, ()) = tokio::join!(a.leases.checkpoint(&tenure, up_to(5)), world.run(seconds(2)));
    assert_eq!(done, Ok(CheckpointOutcome::Done));
    assert_eq!(world.table.count(Operation::Update(Purpose::Checkpoint)), 2);
    assert_eq!(
        a.leases.checkpoint(&tenure, up_to(6)).await,
        Ok(CheckpointOutcome::Done)
    );
    assert_eq!(world.text(0, "sequenceNumber").as_deref(), Some("6"));
}

#[tokio::test]
async fn a_checkpoint_that_arrives_late_undoes_no_later_one() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    world
        .table
        .fail_next(Operation::Update(Purpose::Checkpoint), Fault::Hold);
    let (done, ()) = tokio::join!(a.leases.checkpoint(&tenure, up_to(5)), world.run(seconds(12)));
    assert_eq!(done, Ok(CheckpointOutcome::Done), "sent again, it must be taken");
    let channels = vec![crate::state::CountedChannel {
        channel: crate::state::ChannelMark {
            name: "C".to_owned(),
            pipe: "P".to_owned(),
            created_on_ms: 1,
        },
        counters: crate::state::Counters {
            rows_inserted: 8,
            row_errors: 1,
        },
    }];
    let later = Checkpoint {
        channels: channels.clone(),
        ended: true,
        ..up_to(5)
    };
    assert_eq!(
        a.leases.checkpoint(&tenure, later).await,
        Ok(CheckpointOutcome::Done)
    );
    world.table.let_go();
    world.run(seconds(1)).await;
    let state = a.leases.read(&shard(0)).await.expect("readable");
    assert_eq!((state.channels, state.ended), (channels, true));
}

#[tokio::test]
async fn case_6_a_release_whose_answer_was_lost_is_not_undone() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    a.candidates.send_replace(Arc::new(Vec::new()));
    world
        .table
        .fail_next(Operation::Update(Purpose::Release), Fault::LoseAnswer);
    tokio::join!(a.leases.release(&tenure), world.run(seconds(5)));
    assert_eq!(a.count(), 0);
    assert_eq!(world.text(0, "leaseOwner"), None);
}

#[tokio::test]
async fn a_release_that_could_not_be_written_is_tried_until_it_is() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    a.candidates.send_replace(Arc::new(Vec::new()));
    a.door.cut_off(true);
    tokio::join!(a.leases.release(&tenure), world.run(seconds(60)));
    assert_eq!(a.count(), 0, "given back, it must not be read any more");
    assert!(world.text(0, "leaseOwner").is_some());
    a.door.cut_off(false);
    world.run(seconds(15)).await;
    assert_eq!(world.text(0, "leaseOwner"), None);
    assert_eq!(a.count(), 0);
}

#[tokio::test]
async fn case_7_a_table_that_nobody_reaches_moves_nothing() {
    for silence in [5, 40, 400] {
        let world = World::new();
        let mut a = world.host(4).await;
        world.run(seconds(1)).await;
        let b = world.host(4).await;
        for _ in 0..20 {
            world.run(seconds(1)).await;
            a.drain().await;
        }
        assert_eq!((a.count(), b.count()), (2, 2));
        let before = (a.held(), b.held());
        a.heard();
        a.door.cut_off(true);
        b.door.cut_off(true);
        for _ in 0..silence {
            world.run(seconds(1)).await;
            assert!(
                a.leases.may_act() && b.leases.may_act(),
                "held shards go on without the table"
            );
        }
        let told = a.heard();
        assert!(
            told.iter()
                .any(|e| matches!(**e, Event::CallFailed { room: "lease", .. }))
        );
        a.door.cut_off(false);
        b.door.cut_off(false);
        world.run(seconds(60)).await;
        assert_eq!((a.held(), b.held()), before, "after {silence} s of silence");
    }
}

#[tokio::test]
async fn case_7_a_table_that_hangs_is_as_one_that_nobody_reaches() {
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(12)).await;
    for _ in 0..6 {
        world.table.fail_next(Operation::Rows, Fault::Hang);
        world
            .table
            .fail_next(Operation::Update(Purpose::Beat), Fault::Hang);
    }
    for _ in 0..40 {
        world.run(seconds(1)).await;
        assert!(a.leases.may_act());
    }
    world.run(seconds(60)).await;
    assert_eq!((a.count(), a.tenure(0).epoch), (2, 1));
}

#[tokio::test]
async fn one_who_alone_cannot_reach_the_table_lets_go_when_it_can() {
    let world = World::new();
    let a = world.host(2).await;
    let b = world.host(2).await;
    world.run(seconds(25)).await;
    a.door.cut_off(true);
    world.run(seconds(60)).await;
    assert_eq!(b.count(), 2);
    assert!(a.leases.may_act());
    assert_eq!(a.count(), 2, "it cannot know; the channel fences it");
    a.door.cut_off(false);
    world.run(seconds(15)).await;
    assert_eq!(a.held().values().filter(|held| held.tenure.epoch == 1).count(), 0);
}

#[tokio::test]
async fn a_sleep_while_the_table_is_gone_ends_the_right_to_act_until_it_is_back() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(25)).await;
    a.door.cut_off(true);
    a.frozen.send_replace(true);
    world.run(seconds(40)).await;
    a.frozen.send_replace(false);
    world.run(seconds(40)).await;
    assert!(!a.leases.may_act());
    assert_eq!(a.count(), 1);
    a.door.cut_off(false);
    world.run(seconds(15)).await;
    assert!(a.leases.may_act());
    assert_eq!(a.tenure(0).epoch, 1, "nobody took it: it goes on");
}

#[tokio::test]
async fn a_stop_ends_although_the_table_is_gone() {
    let world = World::new();
    let a = world.host(3).await;
    world.run(seconds(1)).await;
    a.door.cut_off(true);
    let began = world.clock.now();
    let ended = async {
        a.leases.stop().await;
        world.clock.now().since(began)
    };
    let (took, ()) = tokio::join!(ended, world.run(seconds(60)));
    assert!(took <= seconds(20), "{took:?}");
}

#[tokio::test]
async fn case_90_a_table_that_is_deleted_and_made_is_waited_for_and_a_foreign_one_is_refused() {
    let world = World::new();
    for status in ["DELETING", "DELETING", "CREATING"] {
        let not_ready = not_ready(status);
        world
            .table
            .fail_next(Operation::Prepare, Fault::Reject(not_ready));
    }
    let (a, ()) = tokio::join!(world.host(1), world.run(seconds(10)));
    assert_eq!(world.table.count(Operation::Prepare), 4);
    let foreign = Error::ForeignLayout {
        table: "app".to_owned(),
        found: "leaseKey".to_owned(),
        hint: "",
    };
    world
        .table
        .fail_next(Operation::Prepare, Fault::Reject(foreign.clone()));
    assert_eq!(another_start(&a).await.err(), Some(foreign));
}

fn not_ready(status: &str) -> Error {
    let (table, status) = ("app".to_owned(), status.to_owned());
    Error::TableNotReady { table, status }
}

fn another_start(a: &Host) -> impl Future<Output = Result<LeaseCoordinator, Error>> {
    let shared = &a.leases.shared;
    LeaseCoordinator::start(
        Arc::clone(&shared.store),
        shared.options.clone(),
        Arc::clone(&shared.clock),
        Arc::clone(&shared.random),
        shared.events.clone(),
        a.candidates.subscribe(),
    )
}

#[tokio::test]
async fn case_90_a_table_that_is_not_ready_for_minutes_is_told_and_may_be_waited_for_again() {
    let world = World::new();
    let a = world.host(1).await;
    let looks = world.table.count(Operation::Prepare);
    for _ in 0..200 {
        let not_ready = not_ready("DELETING");
        world
            .table
            .fail_next(Operation::Prepare, Fault::Reject(not_ready));
    }
    let began = world.clock.now();
    let ended = async {
        let error = another_start(&a).await.expect_err("it does not get ready");
        (error, world.clock.now().since(began))
    };
    let ((error, took), ()) = tokio::join!(ended, world.run(seconds(150)));
    assert!(took >= seconds(20) && took <= seconds(120), "{took:?}");
    assert!(error.kind().may_heal(), "who starts tries again");
    assert!(
        error
            .to_string()
            .contains("table app is not ready: its status is DELETING"),
        "{error}"
    );
    assert_eq!(world.table.count(Operation::Prepare) - looks, 61);
}

#[tokio::test]
async fn case_90_a_table_whose_key_is_out_of_reach_is_told_at_once() {
    let world = World::new();
    let a = world.host(1).await;
    let looks = world.table.count(Operation::Prepare);
    let unusable = Error::TableUnusable {
        table: "app".to_owned(),
        status: "INACCESSIBLE_ENCRYPTION_CREDENTIALS".to_owned(),
        next: "enable the key",
    };
    world
        .table
        .fail_next(Operation::Prepare, Fault::Reject(unusable.clone()));
    assert_eq!(another_start(&a).await.err(), Some(unusable));
    assert_eq!(
        world.table.count(Operation::Prepare) - looks,
        1,
        "nobody waits for that"
    );
}

#[tokio::test]
async fn a_released_shard_is_not_held_again_while_its_row_still_says_so() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    for _ in 0..8 {
        let throttled = Error::Throttled {
            call: "UpdateItem",
            detail: "slow down".to_owned(),
        };
        world
            .table
            .fail_next(Operation::Update(Purpose::Release), Fault::Reject(throttled));
    }
    tokio::join!(a.leases.release(&tenure), async {
        for _ in 0..8 {
            world.run(seconds(1)).await;
            assert_eq!(a.count(), 0);
        }
    });
    assert!(
        world.text(0, "leaseOwner").is_some(),
        "the test tests nothing: the release was written"
    );
    world.run(seconds(30)).await;
    assert_eq!(a.tenure(0).epoch, 2);
}

#[tokio::test]
async fn one_who_beats_again_right_before_the_taking_is_not_robbed() {
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(1)).await;
    let b = world.host(0).await;
    world.run(seconds(25)).await;
    a.frozen.send_replace(true);
    b.candidates.send_replace(Arc::new((0..2).map(shard).collect()));
    world.table.fail_next(Operation::Row, Fault::Hold);
    let read_again = |world: &World| world.table.count(Operation::Row);
    while read_again(&world) == 0 {
        world.run(Duration::from_millis(100)).await;
    }
    // The victim wakes while its heartbeat is being read again.
    a.frozen.send_replace(false);
    world.run(Duration::from_millis(10)).await;
    world.table.let_go();
    world.run(seconds(1)).await;
    assert_eq!((a.count(), b.count()), (2, 0));
    assert_eq!(a.tenure(0).epoch, 1);
}
