//! Sends spans to a collector, in batches, on a thread of its own: OTLP over HTTP/1.1 (`POST /v1/traces`, protobuf).
//!
//! A collector that is away or overloaded is asked again for a while (as OTLP says: 429, 502, 503 and 504, and where no answer
//! came); then the batch is dropped and counted. What comes meanwhile waits in a bounded queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use prost::Message;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use weft_http1::{Framing, Limits, Method, ResponseDecoder, ResponseHead, Step, encode};

use super::otlp::{self, Exported};
use super::{Record, Watch};

/// `[traces]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Traces {
    /// Of a collector: `http://127.0.0.1:4318/v1/traces`. None: no span is made.
    pub(crate) endpoint: Option<String>,
    /// The share of new traces that are recorded; one that came is recorded if it says so, one that fails always.
    pub(crate) sample: f64,
}

/// Where spans go.
#[derive(Clone, Debug)]
struct Collector {
    host: String,
    port: u16,
    path: String,
}

/// How a batch fared.
enum Sent {
    Taken,
    Again(String),
    Refused(String),
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

/// An answer is read up to here.
const LONGEST: usize = 64 * 1024;

/// Starts it; the end that spans are put into. `None`: nobody is to have any.
pub(super) fn start(
    traces: &Traces,
    watch: &Arc<Watch>,
) -> io::Result<Option<Sender<Box<Record>>>> {
    let Some(endpoint) = &traces.endpoint else {
        return Ok(None);
    };
    let collector = Collector::parse(endpoint).map_err(io::Error::other)?;
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
                    tracing::warn!(
                        collector = collector.host,
                        port = collector.port,
                        error,
                        "spans are lost"
                    );
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
        match &self.endpoint {
            Some(endpoint) => Collector::parse(endpoint).map(drop),
            None => Ok(()),
        }
    }
}

// === impl Collector ===

impl Collector {
    fn parse(endpoint: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("traces.endpoint = {endpoint:?}: {why}"));
        let Some(rest) = endpoint.strip_prefix("http://") else {
            return wrong(
                "expected http:// and a collector on this host or a network that is trusted",
            );
        };
        let (authority, path) = rest
            .find('/')
            .map_or((rest, "/v1/traces"), |at| rest.split_at(at));
        let good = |byte: u8| byte.is_ascii_graphic();
        let Some((host, port)) = authority.rsplit_once(':') else {
            return wrong("expected a port, such as 4318");
        };
        let Ok(port) = port.parse() else {
            return wrong("expected a port, such as 4318");
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || !host.bytes().all(good) || !path.bytes().all(good) {
            return wrong("expected http://host:port/path");
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }

    async fn send(&self, body: &[u8]) -> io::Result<Sent> {
        let mut stream = TcpStream::connect((&*self.host, self.port)).await?;
        let mut out = Vec::with_capacity(body.len() + 256);
        let host = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        encode::request_line(&mut out, b"POST", self.path.as_bytes());
        encode::field(&mut out, b"host", host.as_bytes());
        encode::field(&mut out, b"content-type", b"application/x-protobuf");
        encode::field(
            &mut out,
            b"user-agent",
            concat!("weft-engine/", env!("CARGO_PKG_VERSION")).as_bytes(),
        );
        encode::field(&mut out, b"connection", b"close");
        encode::framing(&mut out, Framing::Length(body.len() as u64));
        encode::end(&mut out);
        out.extend_from_slice(body);
        stream.write_all(&out).await?;
        let (status, answer) = read(&mut stream).await?;
        Ok(match status {
            200..=299 => match Exported::decode(&*answer) {
                Ok(Exported {
                    partial_success: Some(part),
                }) if part.rejected_spans > 0 => Sent::Refused(format!(
                    "{} spans refused: {}",
                    part.rejected_spans, part.error_message
                )),
                _ => Sent::Taken,
            },
            429 | 502..=504 => Sent::Again(format!("answered {status}")),
            _ => Sent::Refused(format!("answered {status}")),
        })
    }
}

/// Status and body of an answer.
async fn read(stream: &mut TcpStream) -> io::Result<(u16, Vec<u8>)> {
    let mut decoder = ResponseDecoder::new(Limits::RESPONSE);
    decoder.expect(Method::Post, false);
    let mut head = ResponseHead::new();
    let (mut bytes, mut body, mut at) = (Vec::new(), Vec::new(), 0);
    let bad = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    loop {
        let (taken, step) = decoder.feed(&bytes[at..], &mut head);
        match step {
            Step::Data(range) => body.extend_from_slice(&bytes[at + range.start..at + range.end]),
            Step::End => return Ok((head.status(), body)),
            Step::Bad(reject) => return Err(bad(reject.text())),
            Step::Head | Step::Trailers => {}
            Step::Need => {
                at += taken;
                if bytes.len() > LONGEST {
                    return Err(bad("an answer that is too long"));
                }
                let mut chunk = [0; 4096];
                match stream.read(&mut chunk).await? {
                    // A body may end with the connection.
                    0 if head.status() >= 200 => return Ok((head.status(), body)),
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => bytes.extend_from_slice(&chunk[..count]),
                }
                continue;
            }
        }
        at += taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_or_refused_by_name() {
        let parse = |text| Collector::parse(text).map(|one| (one.host, one.port, one.path));
        let made = |host: &str, port, path: &str| Ok((host.to_owned(), port, path.to_owned()));
        assert_eq!(
            parse("http://127.0.0.1:4318/v1/traces"),
            made("127.0.0.1", 4318, "/v1/traces")
        );
        assert_eq!(parse("http://[::1]:4318"), made("::1", 4318, "/v1/traces"));
        for bad in [
            "https://x:1/",
            "http://x",
            "http://:4318",
            "http://x:a/",
            "127.0.0.1:4318",
            "http://x:1/a b",
        ] {
            assert!(
                parse(bad).is_err_and(|why| why.contains("traces.endpoint")),
                "{bad}"
            );
        }
    }
}
