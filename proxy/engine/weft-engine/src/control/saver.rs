//! The thread that writes: always the newest world, at most ten times a second, and never in anybody's way.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::disk::Disk;
use super::state::Saved;
use crate::world::World;

/// A burst of changes is written once.
const GATHER: Duration = Duration::from_millis(100);

/// After a failure the same is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The running thread.
#[derive(Debug)]
pub(crate) struct Saver {
    thread: JoinHandle<()>,
    ending: Arc<AtomicBool>,
}

/// Starts it; what is served already came from the disk.
pub(crate) fn start(mut disk: Disk, mut look: watch::Receiver<Arc<World>>) -> io::Result<Saver> {
    look.mark_unchanged();
    let ending = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ending);
    let thread = std::thread::Builder::new()
        .name("saver".to_owned())
        .spawn(move || {
            while let Ok(changed) = look.has_changed() {
                if changed {
                    let world = look.borrow_and_update().clone();
                    if world.generation > 0
                        && let Err(error) = disk.save(&Saved::of(&world))
                    {
                        tracing::error!(%error, "the snapshot cannot be written to disk");
                        look.mark_changed();
                        std::thread::sleep(AGAIN);
                    }
                } else if told.load(Relaxed) {
                    return;
                }
                std::thread::park_timeout(GATHER);
            }
        })?;
    Ok(Saver { thread, ending })
}

// === impl Saver ===

impl Saver {
    /// Writes what is not written yet, and ends.
    pub(crate) fn finish(self) {
        self.ending.store(true, Relaxed);
        self.thread.thread().unpark();
        // A panic in it was logged, and there is nothing left to save with.
        let _ = self.thread.join();
    }
}
