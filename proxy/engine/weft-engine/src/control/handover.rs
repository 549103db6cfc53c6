//! From one engine to the next over the control socket: a frame, the state, the descriptors.
//!
//! The successor says `handover`; the old engine answers `handing`, its state, and by SCM_RIGHTS its lock, its doors and every
//! listening socket. Both accept now. The successor says `serving`; the old one accepts no more, writes no more, says `handed`
//! and drains. Until `serving` the successor may vanish at any byte, and the old engine goes on as if nothing had been.
//! All of it waits, and so happens in a thread of its own.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use weft_model::frame::{FromEngine, MAX_FRAME, ToEngine};

use super::estate::{Estate, Left};
use super::sockets::Bound;
use crate::config::Config;

/// The layout of [`Left`] and the order of the descriptors.
pub(crate) const FORMAT: u32 = 1;

/// Neither side waits longer for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// More state than this is no engine's.
const MOST_STATE: u64 = 1 << 30;

/// Descriptors in one message: well below the kernel's 253.
const BATCH: usize = 64;

/// Lock, socket, admin.
const DOORS: usize = 3;

/// What a successor was given, before it serves.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) left: Left,
    pub(crate) lock: OwnedFd,
    pub(crate) socket: UnixListener,
    pub(crate) admin: TcpListener,
    pub(crate) listeners: Bound,
    pub(crate) predecessor: Predecessor,
}

/// The engine before, while it drains.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

/// Gives everything to whoever asked; returns when it says that it serves.
pub(crate) fn give(stream: UnixStream, estate: Estate) -> io::Result<UnixStream> {
    let mut stream = wait_on(stream)?;
    let state = rmp_serde::to_vec_named(&estate.left).map_err(io::Error::other)?;
    let count = |sockets: &Vec<OwnedFd>| u32::try_from(sockets.len()).unwrap_or(u32::MAX);
    let handing = FromEngine::Handing {
        state_dir: estate.doors.state_dir.display().to_string(),
        state: state.len() as u64,
        listeners: estate
            .listeners
            .iter()
            .map(|(address, sockets)| (address.to_string(), count(sockets)))
            .collect(),
    };
    put(&mut stream, &handing)?;
    stream.write_all(&state)?;
    let doors = &estate.doors;
    let mut descriptors = vec![
        doors.lock.as_fd(),
        doors.socket.as_fd(),
        doors.admin.as_fd(),
    ];
    descriptors.extend(estate.listeners.values().flatten().map(AsFd::as_fd));
    send_descriptors(&stream, &descriptors)?;
    match take(&mut stream)? {
        ToEngine::Serving {} => Ok(stream),
        other => Err(unexpected(&other)),
    }
}

/// Says what the old engine has to say at the end of its part.
pub(crate) fn say(stream: &mut UnixStream, said: &FromEngine) -> io::Result<()> {
    put(stream, said)
}

// === impl Inheritance ===

impl Inheritance {
    /// Asks the engine that runs with this configuration for everything; `None`: there is none.
    pub(crate) fn ask(config: &Config) -> io::Result<Option<Self>> {
        let stream = match UnixStream::connect(&config.socket) {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut stream = wait_on(stream)?;
        put(&mut stream, &ToEngine::Handover { format: FORMAT })?;
        let (state_dir, state, listeners) = match take(&mut stream)? {
            FromEngine::Handing {
                state_dir,
                state,
                listeners,
            } => (PathBuf::from(state_dir), state, listeners),
            other => return Err(unexpected(&other)),
        };
        if state_dir != config.state_dir {
            let what = format!(
                "the engine that answers there has state_dir {}, not {}",
                state_dir.display(),
                config.state_dir.display()
            );
            return Err(io::Error::other(what));
        }
        let left = take_state(&mut stream, state)?;
        let sockets: usize = listeners.iter().map(|(_, count)| *count as usize).sum();
        let mut given = receive_descriptors(&stream, DOORS + sockets)?.into_iter();
        let mut next = || given.next().ok_or(io::ErrorKind::UnexpectedEof);
        let (lock, socket, admin) = (next()?, next()?, next()?);
        let mut bound = Bound::new();
        for (address, count) in listeners {
            let address = address.parse().map_err(io::Error::other)?;
            let sockets = (0..count).map(|_| Ok(TcpListener::from(next()?)));
            bound.insert(address, sockets.collect::<io::Result<_>>()?);
        }
        Ok(Some(Self {
            left,
            lock,
            socket: UnixListener::from(socket),
            admin: TcpListener::from(admin),
            listeners: bound,
            predecessor: Predecessor(stream),
        }))
    }
}

// === impl Predecessor ===

impl Predecessor {
    /// We accept on everything: it shall accept no more. Fails where it will not.
    pub(crate) fn relieve(&mut self) -> io::Result<()> {
        put(&mut self.0, &ToEngine::Serving {})?;
        match take(&mut self.0) {
            Ok(FromEngine::Handed {}) => Ok(()),
            Ok(other) => Err(unexpected(&other)),
            // It gave everything and is dead: there is nobody else.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Its end of the socket, to tell it of changes while connections are open there.
    pub(crate) fn into_stream(self) -> io::Result<tokio::net::UnixStream> {
        self.0.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(self.0)
    }
}

fn wait_on(stream: UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn take_state(stream: &mut UnixStream, length: u64) -> io::Result<Left> {
    if length > MOST_STATE {
        return Err(io::Error::other(format!("{length} bytes of state")));
    }
    let mut state = Vec::new();
    let arrived = Read::take(&mut *stream, length).read_to_end(&mut state)?;
    if (arrived as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    rmp_serde::from_slice(&state).map_err(io::Error::other)
}

fn put(stream: &mut UnixStream, frame: &impl Serialize) -> io::Result<()> {
    let body = rmp_serde::to_vec_named(frame).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat())
}

fn take<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    rmp_serde::from_slice(&body).map_err(io::Error::other)
}

fn unexpected(frame: &impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("the other engine said {frame:?}"))
}

fn send_descriptors(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in descriptors.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(batch)) {
            return Err(io::Error::other("no room for descriptors"));
        }
        let flags = SendFlags::NOSIGNAL;
        sendmsg(stream, &[IoSlice::new(&[0])], &mut control, flags)?;
    }
    Ok(())
}

fn receive_descriptors(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let parts = &mut [IoSliceMut::new(&mut byte)];
        let message = recvmsg(stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = found.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                found.extend(descriptors);
            }
        }
        if message.bytes == 0 || found.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(found)
}

/// For so many workers, each with at least one socket of every address: where there were fewer, some share one.
pub(crate) fn spread(listeners: Bound, workers: usize) -> io::Result<Bound> {
    let mut spread = Bound::new();
    for (address, mut sockets) in listeners {
        let given = sockets.len();
        for index in given..workers.max(given) {
            sockets.push(sockets[index % given].try_clone()?);
        }
        spread.insert(address, sockets);
    }
    Ok(spread)
}
