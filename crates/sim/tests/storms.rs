//! Seeded storms; a failing seed is printed and can be run alone by `SEED=n`; `STORMS=n` runs more of them.

use frazil_sim::{Storm, Verdict};

#[tokio::test]
async fn case_69_case_72_case_73_no_storm_loses_doubles_or_disorders_a_record() {
    let seeds: Vec<u64> = match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..std::env::var("STORMS")
            .ok()
            .and_then(|count| count.parse().ok())
            .unwrap_or(16))
            .collect(),
    };
    let mut all = Verdict::default();
    for seed in &seeds {
        let verdict = Storm::new(*seed).run().await;
        let Verdict {
            lost,
            doubled,
            disordered,
            ..
        } = verdict;
        assert_eq!((lost, doubled, disordered), (0, 0, 0), "seed {seed}: {verdict:?}");
        all.put += verdict.put;
        all.broken += verdict.broken;
        all.kills += verdict.kills;
        all.hits += verdict.hits;
        all.faults += verdict.faults;
        all.reshards += verdict.reshards;
    }
    if seeds.len() > 1 {
        // A storm in which nothing happened proves nothing.
        let happened = all.put > 2000 && all.broken > 50 && all.kills > 20 && all.hits > 10;
        assert!(happened && all.faults > 50 && all.reshards > 30, "{all:?}");
    }
}
