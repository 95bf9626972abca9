use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn workers(count: usize) -> Vec<WorkerId> {
    (0..count)
        .map(|n| WorkerId::new(format!("worker-{n}")).expect("valid"))
        .collect()
}

fn shards(count: usize) -> Vec<ShardId> {
    (0..count)
        .map(|n| ShardId::new(format!("shardId-{n:012}")).expect("valid"))
        .collect()
}

fn view<'a>(me: &'a WorkerId, all: &'a [WorkerId], owners: &'a HashMap<ShardId, Option<usize>>) -> View<'a> {
    let others: Vec<&WorkerId> = all.iter().filter(|w| *w != me).collect();
    let shards = owners.iter().map(|(shard, owner)| {
        let hold = match owner.map(|n| &all[n]) {
            None => Hold::Free,
            Some(owner) if owner == me => Hold::Mine { draining: false },
            Some(owner) => Hold::Other(others.iter().position(|w| *w == owner).expect("live")),
        };
        ShardView { shard, hold }
    });
    View {
        me,
        shards: shards.collect(),
        others,
    }
}

#[test]
fn a_single_worker_takes_all_at_once() {
    let (all, ids) = (workers(1), shards(7));
    let owners = ids.iter().map(|id| (id.clone(), None)).collect();
    let plan = plan(&view(&all[0], &all, &owners));
    assert_eq!(plan.take.len(), 7);
    assert!(plan.drain.is_empty() && !plan.hungry);
}

#[test]
fn the_holder_of_all_drains_for_one_who_joins() {
    let (all, ids) = (workers(2), shards(5));
    let owners = ids.iter().map(|id| (id.clone(), Some(0))).collect();
    let holder = plan(&view(&all[0], &all, &owners));
    assert_eq!((holder.drain.len(), holder.take.len()), (2, 0));
    let joined = plan(&view(&all[1], &all, &owners));
    assert!(joined.hungry && joined.take.is_empty() && joined.drain.is_empty());
}

#[test]
fn what_drains_already_is_not_asked_again() {
    let (all, ids) = (workers(2), shards(4));
    let owners: HashMap<_, _> = ids.iter().map(|id| (id.clone(), Some(0))).collect();
    let mut view = view(&all[0], &all, &owners);
    view.shards[0].hold = Hold::Mine { draining: true };
    assert_eq!(plan(&view).drain.len(), 1);
}

proptest! {
    /// From any state of ownership, with each worker acting once a round in any order, plans become empty, every shard
    /// is held, and no two workers differ by more than one.
    #[test]
    fn any_start_becomes_balanced_and_stays(
        count in 1_usize..6,
        owned in prop::collection::vec(prop::option::of(0_usize..6), 0..24),
        order in any::<u64>(),
    ) {
        let all = workers(count);
        let ids = shards(owned.len());
        let start = ids.iter().zip(owned).map(|(id, owner)| (id.clone(), owner.filter(|n| *n < count)));
        let mut owners: HashMap<ShardId, Option<usize>> = start.collect();
        let mut quiet = 0;
        for round in 0..8_usize {
            let mut moved = 0;
            for turn in 0..count {
                let n = (turn + round + usize::try_from(order % 7).expect("small")) % count;
                let plan = plan(&view(&all[n], &all, &owners));
                moved += plan.take.len() + plan.drain.len();
                for shard in plan.take {
                    prop_assert_eq!(owners.insert(shard, Some(n)), Some(None), "took what was not free");
                }
                for shard in plan.drain {
                    prop_assert_eq!(owners.insert(shard, None), Some(Some(n)), "drained what was not its own");
                }
            }
            quiet = if moved == 0 { quiet + 1 } else { 0 };
        }
        prop_assert!(quiet >= 2, "shards still move after eight rounds");
        let mut held = vec![0_usize; count];
        for owner in owners.values() {
            held[owner.expect("every shard is held")] += 1;
        }
        let (most, least) = (held.iter().max().expect("one"), held.iter().min().expect("one"));
        prop_assert!(most - least <= 1, "{:?}", held);
    }
}
