//! Breadth first through every state, then backwards from those where the work is done.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Model, State, Step};

/// What a search came to.
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: usize,
    pub(super) faults: usize,
    /// States where all is done.
    pub(super) done: usize,
    /// States from which no way without a fault leads to one of those.
    pub(super) stuck: usize,
    /// The first invariant that broke, and the shortest way there.
    pub(super) broken: Option<(&'static str, Vec<Step>)>,
}

/// Tries every order of steps with at most so many faults, until that many states were seen.
pub(super) fn search(model: &Model, faults: u8, most: usize) -> Found {
    let mut found = Found {
        states: 1,
        steps: 0,
        faults: 0,
        done: 0,
        stuck: 0,
        broken: None,
    };
    let start = Model::start(faults);
    let mut numbers: HashMap<State, u32> = HashMap::from([(start.clone(), 0)]);
    // How each state was reached first, and from where it is reached without a fault.
    let mut reached: Vec<Option<(u32, Step)>> = vec![None];
    let mut before: Vec<Vec<u32>> = vec![Vec::new()];
    let mut done = Vec::new();
    let mut layer = vec![(start, 0_u32)];
    while !layer.is_empty() && numbers.len() < most {
        let mut next_layer = Vec::new();
        for (state, number) in layer {
            if Model::is_done(&state) {
                done.push(number);
            }
            for next in model.next(&state) {
                found.steps += 1;
                found.faults += usize::from(next.is_fault);
                let after = match next.state {
                    Ok(after) => after,
                    Err(reason) => {
                        found.states = numbers.len();
                        found.broken = Some((reason, way(&reached, number, next.step)));
                        return found;
                    }
                };
                let fresh = u32::try_from(reached.len()).expect("fewer states");
                let to = match numbers.entry(after.clone()) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(vacant) => {
                        vacant.insert(fresh);
                        reached.push(Some((number, next.step)));
                        before.push(Vec::new());
                        next_layer.push((after, fresh));
                        fresh
                    }
                };
                if !next.is_fault {
                    before[to as usize].push(number);
                }
            }
        }
        layer = next_layer;
    }
    found.states = numbers.len();
    found.done = done.len();
    found.stuck = found.states - finishing(&before, done);
    found
}

/// The steps to a state, and one more.
fn way(reached: &[Option<(u32, Step)>], mut at: u32, last: Step) -> Vec<Step> {
    let mut steps = vec![last];
    while let Some((from, step)) = reached[at as usize] {
        steps.push(step);
        at = from;
    }
    steps.reverse();
    steps
}

/// How many states lead to one where all is done.
fn finishing(before: &[Vec<u32>], done: Vec<u32>) -> usize {
    let mut leads = vec![false; before.len()];
    let mut open = done;
    for state in &open {
        leads[*state as usize] = true;
    }
    while let Some(state) = open.pop() {
        for from in &before[state as usize] {
            if !std::mem::replace(&mut leads[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    leads.into_iter().filter(|leads| *leads).count()
}
