//! A worker that is dead or stuck goes on receiving its share of connections; so the process ends instead.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::worker::Handle;

/// How often heartbeats are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// So many looks without a heartbeat are two seconds. Looks are counted rather than time, so that a process that was stopped or
/// starved as a whole is not taken for one with a stuck worker.
const MISSES: u32 = 8;

/// Returns when a worker is lost, with why.
pub(crate) async fn watch(workers: Arc<[Handle]>) -> &'static str {
    let mut seen: Vec<(u64, u32)> = workers
        .iter()
        .map(|worker| (worker.beat.load(Relaxed), 0))
        .collect();
    loop {
        tokio::time::sleep(LOOK).await;
        for (worker, (beat, misses)) in workers.iter().zip(&mut seen) {
            if worker.is_dead() {
                return "a worker died";
            }
            let now = worker.beat.load(Relaxed);
            *misses = if now == *beat { *misses + 1 } else { 0 };
            *beat = now;
            if *misses >= MISSES {
                return "a worker missed its heartbeat for two seconds";
            }
        }
    }
}
