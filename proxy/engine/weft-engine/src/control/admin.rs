//! Metrics and readiness over HTTP, read-only, on a port of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use weft_http1::{Framing, Limits, Method, RequestDecoder, RequestHead, Step, encode};

use super::said::{gauges, scraped};
use super::standing::Standing;
use crate::observe::{Format, render};
use crate::watch::Watch;
use crate::worker::Handle;
use crate::world::World;

/// A scrape takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an answer is made from.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) workers: Arc<[Handle]>,
    pub(crate) latest: watch::Receiver<Arc<World>>,
    pub(crate) serving: Arc<AtomicBool>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) watch: Arc<Watch>,
    /// So many scrapes are answered at once; others wait.
    pub(crate) scrapes: Arc<Semaphore>,
}

// === impl Admin ===

impl Admin {
    /// Answers for ever.
    pub(crate) async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let admin = self.clone();
                    tokio::task::spawn_local(async move {
                        let answered = tokio::time::timeout(PATIENCE, admin.answer(stream)).await;
                        if let Ok(Err(error)) = answered {
                            tracing::debug!(%error, "an admin request broke off");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no admin connection can be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut decoder = RequestDecoder::new(Limits::REQUEST);
        let mut head = RequestHead::new();
        let mut bytes = [0; 4096];
        let (mut status, mut kind, mut body) =
            (400, TEXT, "no request that is understood\n".to_owned());
        loop {
            let count = stream.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            match decoder.feed(&bytes[..count], &mut head) {
                (_, Step::Need) => {}
                (_, Step::Head) => {
                    (status, kind, body) = self.say(&head).await;
                    break;
                }
                _ => break,
            }
        }
        let mut out = Vec::new();
        encode::status_line(&mut out, status, encode::reason(status));
        encode::field(&mut out, b"content-type", kind.as_bytes());
        encode::field(&mut out, b"connection", b"close");
        encode::framing(&mut out, Framing::Length(body.len() as u64));
        encode::end(&mut out);
        if head.method() != Method::Head {
            out.extend_from_slice(body.as_bytes());
        }
        stream.write_all(&out).await?;
        stream.shutdown().await
    }

    async fn say(&self, head: &RequestHead) -> (u16, &'static str, String) {
        if !matches!(head.method(), Method::Get | Method::Head) {
            return (405, TEXT, "only GET\n".to_owned());
        }
        match head.path() {
            b"/metrics" => self.metrics(head).await,
            b"/ready" if !self.serving.load(Relaxed) => (503, TEXT, "no snapshot yet\n".to_owned()),
            b"/ready" if self.latest.borrow().draining.is_some() => {
                (503, TEXT, "draining\n".to_owned())
            }
            b"/ready" => (200, TEXT, "ready\n".to_owned()),
            _ => (404, TEXT, "there are /metrics and /ready\n".to_owned()),
        }
    }

    /// Written on a thread of its own: thousands of series take longer than an agent should wait for its ack.
    async fn metrics(&self, head: &RequestHead) -> (u16, &'static str, String) {
        let accept = head.fields().joined(b"accept");
        let accept = accept.as_deref().map(String::from_utf8_lossy);
        let format = Format::accepted(accept.as_deref());
        let _turn = self.scrapes.acquire().await;
        let workers = scraped(&self.workers);
        let world = self.latest.borrow().clone();
        let (standing, watch) = (Arc::clone(&self.standing), Arc::clone(&self.watch));
        let written = tokio::task::spawn_blocking(move || {
            render(&workers, &gauges(&world, &standing, &watch), format)
        });
        match written.await {
            Ok(text) => (200, format.content_type(), text),
            Err(error) => (500, TEXT, format!("{error}\n")),
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
