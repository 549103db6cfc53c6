//! A worker without threads and listeners: connections are pairs of sockets, and everything runs on the caller's thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::{Builder as Tokio, LocalOptions, LocalRuntime};
use tokio::sync::mpsc::{channel, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use weft_core::caller::Local;
use weft_model::Snapshot;
use weft_model::parse::{Section, encode};

use super::application::{self, Seen};
use crate::bounds::Bounds;
use crate::h2::{Client, serve};
use crate::io::{Input, Stream};
use crate::observe::{Counters, Direction};
use crate::tls::TlsState;
use crate::watch;
use crate::worker::{Rooms, Shared, Worker};
use crate::world::{Builder, Revisions, World};

/// Everything a connection needs.
pub(crate) struct Stage {
    runtime: LocalRuntime,
    worker: Rc<Worker>,
    port: SocketAddr,
    pub(super) seen: Rc<RefCell<Seen>>,
}

/// Whatever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Turns of the runtime in which whoever waits for a byte has read it.
const TURNS: usize = 3;

// === impl Stage ===

impl Stage {
    /// A worker that serves one service, outside the mesh, with an application behind it.
    pub(super) fn new() -> Self {
        Self::within(Bounds::default())
    }

    /// The same with other bounds.
    pub(crate) fn within(bounds: Bounds) -> Self {
        // Sockets are looked at between any two tasks, so that what is sent in pieces is read in pieces.
        let runtime = Tokio::new_current_thread()
            .enable_all()
            .event_interval(1)
            .build_local(LocalOptions::default())
            .expect("a runtime");
        let seen = Rc::<RefCell<Seen>>::default();
        let application = runtime.block_on(application::start(Rc::clone(&seen)));
        let port = SocketAddr::from(([127, 0, 0, 1], 1));
        let (news, _) = unbounded_channel();
        let (mirrored, _) = channel(1);
        let counters = Arc::<Counters>::default();
        let world = Arc::new(world(port, application));
        let shared = Shared {
            caps: Arc::default(),
            watch: unwatched(),
        };
        let worker = Rc::new_cyclic(|me| {
            Worker::new(
                world,
                (Arc::new(bounds), Rooms::default()),
                counters,
                news,
                &shared,
                (me.clone(), mirrored),
            )
        });
        Self {
            runtime,
            worker,
            port,
            seen,
        }
    }

    #[cfg(test)]
    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Runs something on the stage; panics if it hangs.
    pub(crate) fn play<T>(&self, act: impl Future<Output = T>) -> T {
        let act = async { tokio::time::timeout(PATIENCE, act).await };
        self.runtime.block_on(act).expect("it hangs")
    }

    /// A client's end of a connection of HTTP/2, and the task that serves the other end. Inside [`Stage::play`] only.
    pub(super) fn connect(&self) -> (TcpStream, JoinHandle<()>) {
        let (ours, theirs) = pair();
        let client = Client {
            address: self.port,
            ip: self.port.ip(),
            peer: None,
            direction: Direction::Outbound,
            tls: "",
        };
        let worker = Rc::clone(&self.worker);
        let served = serve(Stream::Plain(theirs), Input::default(), client, worker);
        (ours, spawn_local(served))
    }
}

/// Nobody listens, and what is logged goes nowhere.
fn unwatched() -> Arc<watch::Watch> {
    let log = watch::Log {
        path: Some("/dev/null".into()),
        ..watch::Log::default()
    };
    watch::start(&log, &watch::Traces::default(), Path::new("/")).expect("a thread")
}

/// Sends bytes in pieces, each of which is read before the next is sent; an end by the other side is the end of it.
pub(super) async fn send(to: &mut (impl AsyncWriteExt + Unpin), pieces: &[&[u8]]) {
    for piece in pieces {
        if to.write_all(piece).await.is_err() {
            return;
        }
        for _ in 0..TURNS {
            yield_now().await;
        }
    }
}

/// Two ends of a connection, which to tokio are as good as any other.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("two sockets");
    let of = |socket: Socket| {
        socket.set_nonblocking(true).expect("a socket");
        TcpStream::from_std(OwnedFd::from(socket).into()).expect("a stream")
    };
    (of(one), of(other))
}

fn world(port: SocketAddr, application: SocketAddr) -> World {
    let host =
        json!({"name": "vm-1", "zone": "", "trust_domain": "test.weft", "datacenter": "local"});
    let listener =
        json!({"kind": "outbound", "address": port, "caller": "shop/web", "upstream": "shop/api"});
    let service = json!({
        "protocol": "http",
        "routes": [],
        "traffic": {
            "balance": "p2c", "connect_timeout_ms": 1000, "timeout_ms": 4000, "idle_timeout_ms": 60_000, "stream_idle_ms": 4000,
            "retry": {
                "max": 0, "undelivered": false, "reset": false, "statuses": [], "methods": [],
                "per_try_timeout_ms": 0, "backoff_base_ms": 1, "backoff_max_ms": 1,
            },
            "capacity": {"connections": 0, "pending": 1024, "requests": 0},
            "retry_budget": {"percent": 20.0, "min": 3},
            "outlier": {"consecutive": 0, "success_below": 0.0, "eject_ms": 1000, "max_ejected": 0.0},
        },
        "access": {"default": "allow", "rules": []},
    });
    let endpoint = json!({
        "instance": "api-1", "host": "elsewhere", "address": application, "port": 0, "weight": 100, "zone": "", "labels": {},
        "state": "up",
    });
    let endpoints = json!({"endpoints": [endpoint], "outside": true});
    let set = BTreeMap::from([
        ("host".to_owned(), encode(&Section::Host(read(host)))),
        (
            "listener/outbound".to_owned(),
            encode(&Section::Listener(read(listener))),
        ),
        (
            "service/shop/api".to_owned(),
            encode(&Section::Service(read(service))),
        ),
        (
            "endpoints/shop/api".to_owned(),
            encode(&Section::Endpoints(read(endpoints))),
        ),
    ]);
    let snapshot = Snapshot::default()
        .apply(true, &set, &[])
        .expect("good sections");
    let local = Local::of(snapshot.host.as_deref().expect("a host"));
    let tls = TlsState::empty().at(&local).expect("nothing to rebuild");
    let revisions = Revisions::default();
    Builder::default()
        .build(&World::empty(), snapshot, tls, revisions)
        .expect("a world")
}

fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("a good section")
}
