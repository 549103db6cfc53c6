//! The thread that writes: always the newest world, at most ten times a second, and never in anybody's way: where a write takes
//! long, it pauses four times as long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::disk::Disk;
use super::state::Saved;
use crate::world::World;

/// A burst of changes is written once.
const GATHER: Duration = Duration::from_millis(100);

/// No state on disk is older than that and a write.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// After a failure the same is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The running thread.
#[derive(Debug)]
pub(crate) struct Saver {
    thread: JoinHandle<()>,
    ending: Arc<AtomicBool>,
    dies: Arc<AtomicBool>,
}

/// Starts it. What is served already came from the disk, unless another engine gave it.
pub(crate) fn start(
    mut disk: Disk,
    mut look: watch::Receiver<Arc<World>>,
    given: bool,
) -> io::Result<Saver> {
    match given {
        true => look.mark_changed(),
        false => look.mark_unchanged(),
    }
    let ending = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ending);
    let dies = Arc::new(AtomicBool::new(false));
    let died = Arc::clone(&dies);
    let thread = std::thread::Builder::new()
        .name("saver".to_owned())
        .spawn(move || {
            while let Ok(changed) = look.has_changed() {
                let mut pause = GATHER;
                if changed {
                    let begun = Instant::now();
                    let world = look.borrow_and_update().clone();
                    if world.generation > 0
                        && let Err(error) = disk.save(&Saved::of(&world))
                    {
                        tracing::error!(%error, "the snapshot cannot be written to disk");
                        if told.load(Relaxed) {
                            return;
                        }
                        look.mark_changed();
                        std::thread::sleep(AGAIN);
                    }
                    pause = (begun.elapsed() * 4).clamp(GATHER, LONGEST_PAUSE);
                } else if told.load(Relaxed) {
                    if !died.load(Relaxed) {
                        disk.end();
                    }
                    return;
                }
                disk.settle();
                if !told.load(Relaxed) {
                    std::thread::park_timeout(pause);
                }
            }
        })?;
    Ok(Saver {
        thread,
        ending,
        dies,
    })
}

// === impl Saver ===

impl Saver {
    /// The same, for an engine that does not end in order: whoever starts next counts it as a crash.
    pub(crate) fn give_up(self) {
        self.dies.store(true, Relaxed);
        self.finish();
    }

    /// Writes what is not written yet, and ends.
    pub(crate) fn finish(self) {
        self.ending.store(true, Relaxed);
        self.thread.thread().unpark();
        // A panic in it was logged, and there is nothing left to save with.
        let _ = self.thread.join();
    }
}
