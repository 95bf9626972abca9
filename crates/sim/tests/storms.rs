//! Seeded storms; a failing seed is printed and can be run alone by `SEED=n`; `STORMS=n` runs more of them.

use frazil_sim::{Storm, Verdict, Weather};

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Each user record once, in the order of its key.
fn assert_whole(seed: u64, verdict: &Verdict) {
    let found = (verdict.lost, verdict.doubled, verdict.disordered);
    assert_eq!(found, (0, 0, 0), "seed {seed}: {verdict:?}");
}

#[tokio::test]
async fn case_69_case_72_case_73_no_storm_loses_doubles_or_disorders_a_record() {
    let seeds: Vec<u64> = match number_of("SEED") {
        Some(seed) => vec![seed],
        None => (0..number_of("STORMS").unwrap_or(16)).collect(),
    };
    let mut all = Verdict::default();
    for seed in &seeds {
        let verdict = Storm::new(*seed, Weather::squall()).run().await;
        assert_whole(*seed, &verdict);
        all.add(&verdict);
    }
    println!("{} storms: {all:?}", seeds.len());
    if seeds.len() > 1 {
        // A storm in which nothing happened proves nothing.
        let happened = all.put > 2000 && all.broken > 50 && all.kills > 20 && all.hits > 10;
        assert!(happened && all.faults > 50 && all.reshards > 30, "{all:?}");
        let forms = all.aggregates > 200 && all.compressed > 500;
        assert!(forms && all.subscriptions > 200 && all.polls > 2000, "{all:?}");
    }
}

/// A day of the paused clock; another one by `SEED=n`.
#[test]
fn case_95_a_day_of_random_faults_loses_doubles_and_disorders_nothing() {
    let seed = number_of("SEED").unwrap_or(1);
    println!("seed {seed}");
    // Without the drivers of sockets and time, which a storm has no use for and each turn of the clock would ask.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let storm = Storm::new(seed, Weather::day()).run();
    let verdict = runtime.expect("a runtime").block_on(storm);
    println!("{verdict:?}");
    assert_whole(seed, &verdict);
    assert!((82_000..92_000).contains(&verdict.seconds), "{verdict:?}");
    let put = verdict.put > 7000 && verdict.aggregates > 500 && verdict.compressed > 1000;
    let met = verdict.faults > 150 && verdict.reshards > 10 && verdict.kills > 80;
    assert!(
        put && met && verdict.subscriptions > 500 && verdict.polls > 5000,
        "{verdict:?}"
    );
}
