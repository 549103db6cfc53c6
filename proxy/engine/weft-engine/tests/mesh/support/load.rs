//! Clients of every kind that go on while something is changed, and remember what they lost.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use http::Request;

use super::http::{Answer, Client};
use super::http2;

/// Never repeated by an engine.
const POST: &str = "POST /echo HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\n\r\nhello";

/// Clients of every kind until it is stopped, and what they lost.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    took: Arc<Mutex<Vec<Duration>>>,
    lost: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(at: SocketAddr) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            took: Arc::default(),
            lost: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..3 {
            load.client("keep-alive", move |client| {
                let kept = client.get_or_insert_with(|| Client::connect(at));
                kept.send(POST.as_bytes());
                let answer = kept.try_answer(false);
                if answer
                    .as_ref()
                    .is_none_or(|answer| answer.field("connection") == Some("close"))
                {
                    *client = None;
                }
                check(answer)
            });
            load.client("new connection", move |_| {
                let mut client = Client::connect(at);
                client.send(POST.as_bytes());
                check(client.try_answer(false))
            });
        }
        load.streams(at);
        load
    }

    fn client(
        &mut self,
        kind: &'static str,
        mut once: impl FnMut(&mut Option<Client<TcpStream>>) -> Result<(), String> + Send + 'static,
    ) {
        let (stop, answered) = (Arc::clone(&self.stop), Arc::clone(&self.answered));
        let (took, lost) = (Arc::clone(&self.took), Arc::clone(&self.lost));
        self.clients.push(spawn(move || {
            let mut kept = None;
            while !stop.load(Relaxed) {
                let start = Instant::now();
                match once(&mut kept) {
                    Ok(()) => {
                        answered.fetch_add(1, Relaxed);
                        took.lock().expect("whole").push(start.elapsed());
                    }
                    Err(why) => lost.lock().expect("whole").push(format!("{kind}: {why}")),
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        }));
    }

    /// Streams of one connection after another: a new one where the last has said GOAWAY.
    fn streams(&mut self, at: SocketAddr) {
        let (stop, answered) = (Arc::clone(&self.stop), Arc::clone(&self.answered));
        let lost = Arc::clone(&self.lost);
        let work = async move {
            while !stop.load(Relaxed) {
                let mut client = http2::connect(at).await.expect("a connection");
                while !stop.load(Relaxed) {
                    // Not ready: it takes no more, and nothing was sent.
                    client = match client.ready().await {
                        Ok(client) => client,
                        Err(_) => break,
                    };
                    let request = Request::post("http://api/echo").body(()).expect("a head");
                    match http2::finish(&mut client, request, b"hello", None).await {
                        Ok(whole) if whole.status == 200 && whole.body == b"hello" => {
                            answered.fetch_add(1, Relaxed);
                        }
                        Ok(whole) => lost.lock().expect("whole").push(format!("h2: {whole:?}")),
                        // Above the last stream that GOAWAY names: not looked at, and the client's to repeat.
                        Err(error) if error.is_go_away() && error.is_remote() => break,
                        Err(error) => lost.lock().expect("whole").push(format!("h2: {error}")),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        };
        self.clients.push(spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(work);
        }));
    }

    /// Below which time 99 of 100 were answered since this was asked last.
    pub(crate) fn p99(&self) -> Duration {
        let mut took = std::mem::take(&mut *self.took.lock().expect("whole"));
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }

    /// Nothing was lost; how many were answered.
    pub(crate) fn end(self) -> usize {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.join().expect("a client that ends");
        }
        let lost = self.lost.lock().expect("whole");
        assert!(
            lost.is_empty(),
            "{} lost: {:?}",
            lost.len(),
            &lost[..lost.len().min(5)]
        );
        self.answered.load(Relaxed)
    }
}

fn check(answer: Option<Answer>) -> Result<(), String> {
    match answer {
        Some(answer) if answer.status == 200 && answer.text() == "hello" => Ok(()),
        Some(answer) => Err(format!("{answer:?}")),
        None => Err("no answer".to_owned()),
    }
}

/// Whether the proofs that take minutes are asked for.
pub(crate) fn long_form() -> bool {
    std::env::var_os("WEFT_SOAK").is_some()
}
