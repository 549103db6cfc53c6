//! The thread that takes records: it formats, writes the log, and hands taps theirs.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use super::log::Files;
use super::record::{LineFormat, note};
use super::{Log, QUEUE, Record, Tap, Traces, Wants, Watch, export};

/// A record, and for whom it is.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) wants: Wants,
    pub(super) taps: Option<Arc<Vec<Arc<Tap>>>>,
    pub(super) record: Box<Record>,
}

/// At least so often is what was written to be found in the file, and what was held back told.
const TICK: Duration = Duration::from_secs(1);

/// What the thread has.
struct Taker {
    watch: Arc<Watch>,
    files: Files,
    spans: Option<Sender<Box<Record>>>,
    line: String,
    /// Failures logged in this second, and since when it is.
    logged: (u32, Instant),
    /// Lines held back that were told of already.
    told: u64,
    failed: bool,
}

/// Starts it. It ends with the process.
pub(crate) fn start(log: &Log, traces: &Traces, state_dir: &Path) -> io::Result<Arc<Watch>> {
    let (queue, inbox) = sync_channel(QUEUE);
    let watch = Arc::new(Watch::new(log.clone(), traces, queue));
    let path = log
        .path
        .clone()
        .unwrap_or_else(|| state_dir.join("access.log"));
    let taker = Taker {
        watch: Arc::clone(&watch),
        files: Files::new(path, log),
        spans: export::start(traces, &watch)?,
        line: String::new(),
        logged: (0, Instant::now()),
        told: 0,
        failed: false,
    };
    std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || taker.run(&inbox))?;
    Ok(watch)
}

// === impl Taker ===

impl Taker {
    fn run(mut self, inbox: &Receiver<Told>) {
        let mut due = Instant::now() + TICK;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left) {
                Ok(told) => self.take(told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // A burst is written together.
            for told in inbox.try_iter().take(QUEUE) {
                self.take(told);
            }
            if Instant::now() >= due {
                self.tell_of_suppressed();
                due = Instant::now() + TICK;
            }
            let flushed = self.files.flush();
            self.note_failure(flushed, 0);
        }
    }

    fn take(&mut self, told: Told) {
        let Told {
            wants,
            taps,
            record,
        } = told;
        let logs = wants.log && self.admits(&record);
        let format = self.watch.log.format;
        if logs {
            self.line.clear();
            record.write(&mut self.line, format);
            let written = self.files.append(&self.line);
            if written.is_ok() {
                self.watch.counts.logged.fetch_add(1, Relaxed);
            }
            self.note_failure(written, 1);
        }
        if let Some(taps) = taps {
            self.tap(&record, &wants, &taps, logs);
        }
        if wants.span
            && let Some(spans) = &self.spans
            && spans.try_send(record).is_err()
        {
            self.watch.counts.spans_dropped.fetch_add(1, Relaxed);
        }
    }

    fn tap(&mut self, record: &Record, wants: &Wants, taps: &[Arc<Tap>], logged: bool) {
        let written = logged && self.watch.log.format == LineFormat::Json;
        if !written {
            self.line.clear();
            record.write(&mut self.line, LineFormat::Json);
        }
        for (place, tap) in taps.iter().enumerate() {
            if wants.taps & (1 << place) == 0 {
                continue;
            }
            tap.put(&self.line, &self.watch.counts);
        }
    }

    /// A storm of failures, over all workers, writes so many lines a second.
    fn admits(&mut self, record: &Record) -> bool {
        if record.reason.is_none() && record.code < 500 {
            return true;
        }
        let now = Instant::now();
        if now.duration_since(self.logged.1) >= TICK {
            self.logged = (0, now);
        }
        self.logged.0 += 1;
        let admitted = self.logged.0 <= self.watch.log.per_second;
        if !admitted {
            self.watch.counts.suppressed.fetch_add(1, Relaxed);
        }
        admitted
    }

    fn tell_of_suppressed(&mut self) {
        let suppressed = self.watch.counts.suppressed.load(Relaxed);
        if suppressed == self.told {
            return;
        }
        self.line.clear();
        let fields = [("suppressed", suppressed - self.told)];
        note(
            &mut self.line,
            self.watch.log.format,
            "failures were held back",
            &fields,
        );
        self.told = suppressed;
        let written = self.files.append(&self.line);
        self.note_failure(written, 0);
    }

    /// Said once, until it works again; every line is counted.
    fn note_failure(&mut self, written: io::Result<()>, lines: u64) {
        match written {
            Ok(()) if lines > 0 => self.failed = false,
            Ok(()) => {}
            Err(error) => {
                self.watch
                    .counts
                    .log_failed
                    .fetch_add(lines.max(1), Relaxed);
                if !self.failed {
                    tracing::error!(%error, "the access log cannot be written");
                }
                self.failed = true;
            }
        }
    }
}
