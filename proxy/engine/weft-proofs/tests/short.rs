//! The short run: every target, its seeds, what was found before, and some thousands of mutations of them, always the same.
//! `WEFT_MUTATIONS` asks for more; `make fuzz` looks further.

use std::alloc::System;
use std::panic::catch_unwind;

use cap::Cap;
use weft_proofs::mutate::Mutations;
use weft_proofs::{Check, TARGETS, seeds};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const MUTATIONS: usize = 10_000;

/// What a check may ask the allocator for, all its own copies included; none goes beyond a hundredth of a length announced.
const MEMORY_BASE: usize = 2 << 20;
const MEMORY_FACTOR: usize = 4_000;

// One test, so that nobody else asks the allocator meanwhile.
#[test]
fn every_target_holds_for_its_seeds_and_for_mutations_of_them() {
    let asked = std::env::var("WEFT_MUTATIONS").ok();
    let count = asked.map_or(MUTATIONS, |asked| asked.parse().expect("a number"));
    let wrong: Vec<String> = TARGETS
        .iter()
        .filter_map(|(name, check)| {
            let seeds = seeds::of(name);
            let mut inputs = seeds
                .iter()
                .cloned()
                .chain(Mutations::new(&seeds, 1).take(count));
            inputs.find_map(|input| wrong(*check, &input).map(|why| format!("{name} {why}")))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with an input, if anything is.
fn wrong(check: Check, input: &[u8]) -> Option<String> {
    let before = MEMORY.total_allocated();
    let held = catch_unwind(|| check(input));
    let taken = MEMORY.total_allocated() - before;
    let text = seeds::text(input);
    if held.is_err() {
        return Some(format!("does not hold for {text}"));
    }
    let most = MEMORY_BASE + input.len() * MEMORY_FACTOR;
    (taken > most).then(|| format!("took {taken} bytes for {text}"))
}
