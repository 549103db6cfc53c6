//! The short run: seeds, what was found before, and mutations of them, always the same. `WEFT_MUTATIONS` asks for more.

use tokio::io::AsyncReadExt;
use weft_proofs::mutate::Mutations;
use weft_proofs::{Check, seeds};

use super::stage::{Stage, pair, send};
use super::{certificates, http2};

const MUTATIONS: usize = 400;

fn run(name: &str, check: Check) {
    let asked = std::env::var("WEFT_MUTATIONS").ok();
    let count = asked.map_or(MUTATIONS, |asked| asked.parse().expect("a number"));
    let seeds = seeds::of(name);
    let inputs = seeds
        .iter()
        .cloned()
        .chain(Mutations::new(&seeds, 1).take(count));
    for input in inputs {
        let held = std::panic::catch_unwind(|| check(&input));
        assert!(
            held.is_ok(),
            "{name} does not hold for {}",
            seeds::text(&input)
        );
    }
}

#[test]
fn http2_holds_for_seeds_and_mutations_of_them() {
    run("http2", http2::check);
}

#[test]
fn certificates_hold_for_seeds_and_mutations_of_them() {
    run("certificates", certificates::check);
}

#[test]
fn what_is_sent_in_pieces_is_read_in_pieces() {
    let stage = Stage::new();
    let reads = stage.play(async {
        let (mut ours, mut theirs) = pair();
        let reader = tokio::task::spawn_local(async move {
            let mut reads = Vec::new();
            let mut buffer = [0; 100];
            while let Ok(count @ 1..) = theirs.read(&mut buffer).await {
                reads.push(count);
            }
            reads
        });
        send(&mut ours, &[b"abc", b"d", b"ef", b"ghijkl"]).await;
        drop(ours);
        reader.await.expect("no panic")
    });
    assert_eq!(reads, [3, 1, 2, 6]);
}
