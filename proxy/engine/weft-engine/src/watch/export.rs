//! Sends spans to a collector, in batches, on a thread of its own.
//!
//! A collector that is away or overloaded is asked again for a while (as OTLP says: 429, 502, 503 and 504, and where no answer
//! came); then the batch is dropped and counted. What comes meanwhile waits in a bounded queue.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::collector::{Collector, Sent};
use super::otlp;
use super::{Record, Watch};

/// `[traces]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Traces {
    /// Of a collector: `http://127.0.0.1:4318/v1/traces`, or `https://…`. None: no span is made.
    pub(crate) endpoint: Option<String>,
    /// Whose certificates a collector over https may have, in PEM; the system's where it is left out.
    pub(crate) ca_file: Option<PathBuf>,
    /// The share of new traces that are recorded; one that came is recorded if it says so, one that fails always.
    pub(crate) sample: f64,
}

/// Spans that may wait.
const QUEUE: usize = 4_096;

/// A batch has no more, and is sent when its first span is so old.
const BATCH: usize = 512;
const AGE: Duration = Duration::from_secs(1);

/// One try, and the pauses between tries.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Starts it; the end that spans are put into. `None`: nobody is to have any.
pub(super) fn start(
    traces: &Traces,
    watch: &Arc<Watch>,
) -> io::Result<Option<Sender<Box<Record>>>> {
    let Some(endpoint) = &traces.endpoint else {
        return Ok(None);
    };
    let mut collector = Collector::parse(endpoint).map_err(io::Error::other)?;
    collector.trust(traces.ca_file.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (queue, spans) = channel(QUEUE);
    let watch = Arc::clone(watch);
    std::thread::Builder::new()
        .name("spans".to_owned())
        .spawn(move || runtime.block_on(run(collector, spans, &watch)))?;
    Ok(Some(queue))
}

async fn run(collector: Collector, mut spans: Receiver<Box<Record>>, watch: &Watch) {
    let mut failing = false;
    let mut batch = Vec::new();
    while let Some(first) = spans.recv().await {
        batch.clear();
        batch.push(*first);
        let until = Instant::now() + AGE;
        while batch.len() < BATCH
            && let Ok(Some(next)) = timeout_at(until, spans.recv()).await
        {
            batch.push(*next);
        }
        let count = batch.len() as u64;
        match send_until_taken(&collector, &otlp::encode(&batch)).await {
            Ok(()) => {
                watch.counts.spans_exported.fetch_add(count, Relaxed);
                failing = false;
            }
            Err(error) => {
                watch.counts.spans_failed.fetch_add(count, Relaxed);
                if !failing {
                    tracing::warn!(collector = collector.name(), error, "spans are lost");
                }
                failing = true;
            }
        }
    }
}

async fn send_until_taken(collector: &Collector, body: &[u8]) -> Result<(), String> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let sent = timeout(PATIENCE, collector.send(body)).await;
        let why = match sent {
            Ok(Ok(Sent::Taken)) => return Ok(()),
            Ok(Ok(Sent::Refused(why))) => return Err(why),
            Ok(Ok(Sent::Again(why))) => why,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        match pauses.next() {
            Some(pause) => sleep(pause).await,
            None => return Err(why),
        }
    }
}

// === impl Traces ===

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            ca_file: None,
            sample: 0.01,
        }
    }
}

impl Traces {
    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.sample) {
            return Err(format!(
                "traces.sample = {}: expected a share from 0 to 1",
                self.sample
            ));
        }
        let Some(endpoint) = &self.endpoint else {
            return Ok(());
        };
        let collector = Collector::parse(endpoint)?;
        if self.ca_file.is_some() && !collector.is_secure() {
            return Err("traces.ca_file: the endpoint is not https".to_owned());
        }
        Ok(())
    }
}
