//! An engine as a process, and an agent at its socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_bytes::ByteBuf;
use weft_model::frame::{FromEngine, SCHEMA, ToEngine};
use weft_model::parse::{Section, encode};

use super::http::get;
use super::pki::{Ca, Leaf, TRUST_DOMAIN};
use super::{free, until};

/// A running engine with a directory of its own; both end with it.
pub(crate) struct Engine {
    pub(crate) dir: PathBuf,
    pub(crate) admin: SocketAddr,
    child: Child,
    /// Those that handed over, oldest first.
    before: Vec<Child>,
}

/// A writing agent.
pub(crate) struct Agent {
    pub(crate) stream: UnixStream,
    pub(crate) generation: u64,
    epoch: u64,
}

impl Engine {
    pub(crate) fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("weft-engine-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        let admin = free();
        let config = format!(
            "state_dir = {:?}\nsocket = {:?}\nworkers = 2\n[admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"debug\"\n",
            dir.join("state"),
            dir.join("socket"),
        );
        std::fs::write(dir.join("config.toml"), config).expect("written");
        let child = spawn(&dir, &[]);
        let engine = Self {
            dir,
            admin,
            child,
            before: Vec::new(),
        };
        engine.await_socket();
        engine
    }

    /// Kills it without warning and starts it again from what it left behind.
    pub(crate) fn crash_and_restart(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        self.child = spawn(&self.dir, &[]);
        until("it serves again", || {
            TcpStream::connect(self.admin).is_ok() && get(self.admin, "/ready").status == 200
        });
    }

    /// Adds to its configuration, for the next of its kind.
    pub(crate) fn configure(&self, text: &str) {
        let path = self.dir.join("config.toml");
        let before = std::fs::read_to_string(&path).expect("a configuration");
        std::fs::write(path, format!("{text}\n{before}")).expect("written");
    }

    /// Starts a successor, and returns when it has taken over.
    pub(crate) fn replace(&mut self) {
        let successor = spawn(&self.dir, &["--replace"]);
        let pid = successor.id();
        self.before
            .push(std::mem::replace(&mut self.child, successor));
        until("the successor has taken over", || {
            self.inspect().is_some_and(|state| state["pid"] == pid)
        });
    }

    /// What it says of itself.
    pub(crate) fn inspect(&self) -> Option<serde_json::Value> {
        let mut stream = UnixStream::connect(self.dir.join("socket")).ok()?;
        let frame = rmp_serde::to_vec_named(&ToEngine::Inspect {}).ok()?;
        let length = u32::try_from(frame.len()).ok()?.to_be_bytes();
        stream.write_all(&[&length[..], &frame].concat()).ok()?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).ok()?;
        match rmp_serde::from_slice(&body).ok()? {
            FromEngine::State { json } => serde_json::from_str(&json).ok(),
            _ => None,
        }
    }

    /// Those that handed over and still have connections.
    pub(crate) fn draining(&mut self) -> usize {
        self.before
            .retain_mut(|child| child.try_wait().expect("a child").is_none());
        self.before.len()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// How the process that runs ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("gone")
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub(crate) fn agent(&self) -> Agent {
        Agent::connect(&self.dir)
    }

    pub(crate) fn metrics(&self) -> String {
        get(self.admin, "/metrics").text()
    }

    /// The sum of a metric's series that contain all of these.
    pub(crate) fn metric(&self, name: &str, with: &[&str]) -> f64 {
        let metrics = self.metrics();
        let lines = metrics
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name));
        let lines = lines.filter(|line| with.iter().all(|part| line.contains(part)));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric has that value: counting comes after answering.
    pub(crate) fn counts(&self, expected: u32, name: &str, with: &[&str]) {
        until(&format!("{name} {with:?} = {expected}"), || {
            self.metric(name, with) == f64::from(expected)
        });
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("alive");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("told");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn await_socket(&self) {
        until("the engine answers", || {
            UnixStream::connect(self.dir.join("socket")).is_ok()
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for child in self.before.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.dir.display(), self.log());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn spawn(dir: &std::path::Path, more: &[&str]) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log");
    Command::new(env!("CARGO_BIN_EXE_weft-engine"))
        .arg("--config")
        .arg(dir.join("config.toml"))
        .args(more)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the engine starts")
}

impl Agent {
    fn connect(dir: &std::path::Path) -> Self {
        let stream = UnixStream::connect(dir.join("socket")).expect("the engine's socket");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        let mut agent = Self {
            stream,
            generation: 0,
            epoch: 0,
        };
        agent.send(&ToEngine::Hello {
            schema: SCHEMA,
            agent: "test".to_owned(),
        });
        match agent.receive() {
            Some(FromEngine::Welcome { base, .. }) => agent.generation = base,
            other => panic!("no welcome: {other:?}"),
        }
        agent
    }

    pub(crate) fn send(&mut self, frame: &ToEngine) {
        let body = rmp_serde::to_vec_named(frame).expect("a frame");
        self.send_bytes(&body);
    }

    pub(crate) fn send_bytes(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        self.stream
            .write_all(&[&length[..], body].concat())
            .expect("sent");
    }

    /// The next frame that is no event; `None`: the engine has closed.
    pub(crate) fn receive(&mut self) -> Option<FromEngine> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).ok()?;
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut body).ok()?;
            match rmp_serde::from_slice(&body).expect("a frame") {
                FromEngine::Event { .. } => {}
                frame => return Some(frame),
            }
        }
    }

    /// Applies over what is there.
    pub(crate) fn try_apply(
        &mut self,
        sections: &[(&str, Section)],
        delete: &[&str],
    ) -> Result<(), (String, String)> {
        let set: BTreeMap<String, ByteBuf> = sections
            .iter()
            .map(|(name, section)| ((*name).to_owned(), ByteBuf::from(encode(section))))
            .collect();
        let generation = self.generation + 1;
        self.send(&ToEngine::Apply {
            base: self.generation,
            generation,
            policy: 100 + generation,
            registry: 200 + generation,
            reset: false,
            set,
            delete: delete.iter().map(|name| (*name).to_owned()).collect(),
        });
        match self.receive() {
            Some(FromEngine::Ack { generation: acked }) if acked == generation => {
                self.generation = generation;
                Ok(())
            }
            Some(FromEngine::Nack { section, code, .. }) => Err((section, code)),
            other => panic!("neither ack nor nack: {other:?}"),
        }
    }

    pub(crate) fn apply(&mut self, sections: &[(&str, Section)]) {
        self.try_apply(sections, &[]).expect("acknowledged");
    }

    pub(crate) fn delete(&mut self, sections: &[&str]) {
        self.try_apply(&[], sections).expect("acknowledged");
    }

    pub(crate) fn identity(&mut self, name: &str, leaf: &Leaf) {
        self.epoch += 1;
        let epoch = self.epoch;
        self.send(&ToEngine::Identity {
            epoch,
            service: name.to_owned(),
            chain: leaf.chain.iter().cloned().map(ByteBuf::from).collect(),
            key: ByteBuf::from(leaf.key.clone()),
        });
        assert_eq!(self.receive(), Some(FromEngine::EpochAck { epoch }));
    }

    pub(crate) fn trust(&mut self, authorities: &[&Ca], revoked: &[u64]) {
        self.epoch += 1;
        let epoch = self.epoch;
        let bundle = authorities
            .iter()
            .map(|ca| ByteBuf::from(ca.der.clone()))
            .collect();
        self.send(&ToEngine::Trust {
            epoch,
            bundles: BTreeMap::from([(TRUST_DOMAIN.to_owned(), bundle)]),
            revoked: revoked.iter().map(|serial| format!("{serial:x}")).collect(),
        });
        assert_eq!(self.receive(), Some(FromEngine::EpochAck { epoch }));
    }
}
