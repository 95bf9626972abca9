//! What stops a shard, what is kept, and how it goes on.

use frazil_pipeline::dead_letters::Reason;
use frazil_snowflake::fake::BadBatch;

use crate::world::{ARRIVAL_MS, HOUR_MS, Worker, World, table};

#[tokio::test]
async fn refused_rows_stop_the_shard_and_their_span_is_kept() {
    let mut world = World::at(ARRIVAL_MS);
    world.snowpipe.set_table(table(0, false));
    let worker = world.worker();
    world.put(3);
    world.commit(3).await;
    world.advance(5).await;
    world.accept(10).await;
    world.commit_with_errors(2);
    world.stopped().await;
    assert_eq!(world.stop_mark().await.as_deref(), Some("row_error"));
    let letters = world.letters.all();
    assert_eq!(letters.len(), 10, "the span of the refused rows, and no more");
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason == Reason::RowErrorSuspect)
    );
    let rows = world.rows();
    world.put(4);
    world.advance(120).await;
    assert_eq!(world.rows(), rows, "a stopped shard reads on");
    world.resume().await;
    world.goes_on(rows + 4).await;
    world.end(worker).await;
}

#[tokio::test]
async fn refused_rows_that_a_dead_owner_did_not_see_stop_the_next_one_once() {
    let mut world = World::at(ARRIVAL_MS);
    world.snowpipe.set_table(table(0, false));
    let first = world.worker();
    world.accept(10).await;
    first.task.abort();
    world.commit_with_errors(3);
    let second = world.worker();
    world.stopped().await;
    assert_eq!(world.letters.all().len(), 10);
    world.resume().await;
    world.goes_on(10).await;
    world.end(second).await;
}

#[tokio::test]
async fn refused_rows_of_a_table_with_an_error_table_stop_nothing() {
    let mut world = World::at(ARRIVAL_MS);
    world.snowpipe.set_table(table(0, true));
    let worker = world.worker();
    world.accept(10).await;
    world.commit_with_errors(2);
    world.goes_on(10).await;
    assert!(world.letters.all().is_empty());
    world.end(worker).await;
}

/// Writes ten rows, stops, takes the channel away, and starts again with a table of this age.
async fn channel_taken_away(table_created_ms: i64) -> (World, Worker) {
    let mut world = World::at(ARRIVAL_MS);
    world.snowpipe.set_table(table(0, false));
    let first = world.worker();
    world.put(10);
    world.commit(10).await;
    world.end(first).await;
    let channel = world.snowpipe.channels().pop().expect("a channel");
    world.snowpipe.forget(&channel);
    world.snowpipe.set_table(table(table_created_ms, false));
    let second = world.worker();
    (world, second)
}

#[tokio::test]
async fn a_table_made_anew_stops_the_shard_until_a_person_says_so() {
    let (world, worker) = channel_taken_away(1_000_000).await;
    world.stopped().await;
    assert_eq!(world.stop_mark().await.as_deref(), Some("destination_changed"));
    world.put(4);
    world.advance(120).await;
    assert_eq!(world.rows(), 10, "rows went into a table that nobody confirmed");
    world.resume().await;
    world.goes_on(14).await;
    world.end(worker).await;
}

#[tokio::test]
async fn case_71_a_channel_that_the_service_forgot_is_made_anew_behind_the_checkpoint() {
    let (world, worker) = channel_taken_away(0).await;
    world.goes_on(10).await;
    assert_eq!(world.rows(), 15, "what was checkpointed is not sent again");
    world.end(worker).await;
}

/// A worker dies with rows accepted that are not committed; answers how many appends the next one needs until all are.
async fn appends_after_a_death(wall_ms: i64) -> u64 {
    let mut world = World::at(wall_ms);
    let first = world.worker();
    world.accept(10).await;
    first.task.abort();
    let appends = world.snowpipe.calls().1;
    let second = world.worker();
    // The lease of the dead passes on, and the new owner opens the channel, or waits to.
    let opens = world.snowpipe.calls().0;
    world
        .until("the new owner's open", async |world| {
            world.snowpipe.calls().0 > opens
        })
        .await;
    world.advance(10).await;
    world.commit(10).await;
    world.advance(120).await;
    assert_eq!(world.rows(), 10, "exactly once");
    world.end(second).await;
    world.snowpipe.calls().1 - appends
}

#[tokio::test]
async fn accepted_rows_that_kinesis_is_about_to_forget_are_waited_for() {
    assert_eq!(
        appends_after_a_death(ARRIVAL_MS).await,
        2,
        "fresh rows are read again"
    );
    let late = ARRIVAL_MS + 23 * HOUR_MS + HOUR_MS / 2;
    assert_eq!(appends_after_a_death(late).await, 0, "old rows were discarded");
}

fn holds(body: &[u8], word: &[u8]) -> bool {
    let rows = zstd::decode_all(body).expect("zstd");
    rows.windows(word.len()).any(|window| window == word)
}

fn is_bad(body: &[u8]) -> bool {
    holds(body, b"\"bad\":true")
}

/// Carries 400 records past a service that fails on some of them; answers the letters' sequence numbers, in order.
async fn past_bad_rows(how: BadBatch, bad: &[u64]) {
    let mut world = World::at(ARRIVAL_MS);
    world.kinesis.set_page_records(90);
    for number in 0..400 {
        let text = match bad.contains(&number) {
            true => format!("{{\"n\":{number},\"bad\":true}}"),
            false => format!("{{\"n\":{number}}}"),
        };
        world
            .kinesis
            .put(&world.kinesis.shard_ids()[0], "k", text.as_bytes());
    }
    world.snowpipe.fail_on(Some((is_bad, how)));
    let worker = world.worker();
    world.commit(400 - bad.len() as u64).await;
    world
        .until("the letters", async |world| {
            world.snowpipe.commit_all();
            world.letters.all().len() >= bad.len()
        })
        .await;
    // The shard goes on, and nothing of it is sent again.
    world.goes_on(400 - bad.len() as u64).await;
    world.end(worker).await;
    let kept: Vec<(Reason, u64)> = world
        .letters
        .all()
        .iter()
        .map(|letter| {
            let value: serde_json::Value = serde_json::from_slice(&letter.data).expect("JSON");
            (letter.reason, value["n"].as_u64().expect("a number"))
        })
        .collect();
    let wanted: Vec<_> = bad.iter().map(|n| (Reason::RefusedByService, *n)).collect();
    assert_eq!(kept, wanted);
    assert!(
        world.snowpipe.bad_met() >= 3 * bad.len(),
        "the fault hardly fired"
    );
}

#[tokio::test]
async fn a_row_that_makes_the_channel_invalid_becomes_a_letter_and_its_neighbours_rows() {
    past_bad_rows(BadBatch::InvalidAtCommit, &[0]).await;
    past_bad_rows(BadBatch::InvalidAtCommit, &[123]).await;
    past_bad_rows(BadBatch::InvalidAtCommit, &[88, 89, 90, 399]).await;
}

#[tokio::test]
async fn a_row_whose_request_is_refused_becomes_a_letter_and_its_neighbours_rows() {
    past_bad_rows(BadBatch::Refused, &[0]).await;
    past_bad_rows(BadBatch::Refused, &[7, 250, 251]).await;
}

#[tokio::test]
async fn a_service_that_fails_on_every_row_gets_no_dead_letters_from_a_short_outage() {
    let mut world = World::at(ARRIVAL_MS);
    world.put(50);
    world
        .snowpipe
        .fail_on(Some((|body| holds(body, b"\"n\""), BadBatch::InvalidAtCommit)));
    let worker = world.worker();
    for _ in 0..60 {
        world.snowpipe.commit_all();
        world.advance(1).await;
    }
    assert!(world.snowpipe.bad_met() > 5, "{}", world.snowpipe.bad_met());
    assert!(world.letters.all().is_empty(), "{:?}", world.letters.all());
    world.snowpipe.fail_on(None);
    world.commit(50).await;
    world.end(worker).await;
    assert!(world.letters.all().is_empty());
}
