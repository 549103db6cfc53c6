//! What an engine begins with: its state on disk, or what the engine before it hands over.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::TcpListener;

use super::core::Core;
use super::disk::{Disk, FellBack};
use super::estate::Left;
use super::handover::{self, Inheritance, Predecessor};
use super::socket::Door;
use super::sockets::Bound;
use super::start::StartError;
use super::state::Saved;
use crate::config::Config;

/// What an engine begins with.
pub(super) struct Begin {
    pub(super) admin: TcpListener,
    pub(super) door: Door,
    pub(super) from: From,
}

/// Where its state comes from.
pub(super) enum From {
    Disk(Disk, Option<Saved>, Option<FellBack>),
    Predecessor {
        left: Left,
        lock: OwnedFd,
        listeners: Bound,
        predecessor: Predecessor,
    },
}

/// What it goes on with.
pub(super) struct Begun {
    pub(super) disk: Disk,
    pub(super) fell_back: Option<FellBack>,
    pub(super) predecessor: Option<Predecessor>,
}

// === impl Begin ===

impl Begin {
    pub(super) async fn new(config: &Config, replace: bool) -> Result<Self, StartError> {
        let socket = format!("socket {}", config.socket.display());
        let inheritance = match replace {
            true => Inheritance::ask(config)
                .map_err(|error| StartError::new(format!("taking over at {socket}"), error))?,
            false => None,
        };
        if let Some(inheritance) = inheritance {
            return Self::inherit(config, inheritance).await;
        }
        let mut disk = Disk::open(&config.state_dir).map_err(|error| {
            StartError::new(format!("state_dir {}", config.state_dir.display()), error)
        })?;
        let admin = bind_admin(config).await?;
        let door = Door::open(&config.socket).await;
        let door = door.map_err(|error| StartError::new(socket, error))?;
        let loaded = disk.load();
        let (saved, fell_back) =
            loaded.map_err(|error| StartError::new("the snapshot on disk", error))?;
        let from = From::Disk(disk, saved, fell_back);
        Ok(Self { admin, door, from })
    }

    async fn inherit(config: &Config, inheritance: Inheritance) -> Result<Self, StartError> {
        let given = inheritance.admin;
        let same = given.local_addr().is_ok_and(|at| at == config.admin.listen);
        let admin = match same {
            true => given
                .set_nonblocking(true)
                .and_then(|()| TcpListener::from_std(given))
                .map_err(|error| StartError::new("the admin socket", error))?,
            false => bind_admin(config).await?,
        };
        let door = Door::adopt(inheritance.socket, &config.socket)
            .map_err(|error| StartError::new("the control socket", error))?;
        tracing::info!(listeners = inheritance.listeners.len(), "taking over");
        let from = From::Predecessor {
            left: inheritance.left,
            lock: inheritance.lock,
            listeners: inheritance.listeners,
            predecessor: inheritance.predecessor,
        };
        Ok(Self { admin, door, from })
    }
}

async fn bind_admin(config: &Config) -> Result<TcpListener, StartError> {
    let at = config.admin.listen;
    TcpListener::bind(at)
        .await
        .map_err(|error| StartError::new(format!("admin.listen {at}"), error))
}

// === impl From ===

impl From {
    /// The sockets of the engine before, enough for every worker.
    pub(super) fn listeners(mut self, workers: usize) -> Result<(Bound, Self), StartError> {
        let given = match &mut self {
            Self::Disk(..) => Bound::new(),
            Self::Predecessor { listeners, .. } => std::mem::take(listeners),
        };
        let spread = handover::spread(given, workers)
            .map_err(|error| StartError::new("the sockets of the engine before", error))?;
        Ok((spread, self))
    }

    /// Serves what there is; only when that is so the engine before is relieved, and its directory ours.
    pub(super) async fn begin(self, config: &Config, core: &mut Core) -> Result<Begun, StartError> {
        match self {
            Self::Disk(disk, saved, fell_back) => {
                if let Some(saved) = saved {
                    core.restore(saved).await;
                }
                core.suspect(disk.suspects());
                Ok(Begun {
                    disk,
                    fell_back,
                    predecessor: None,
                })
            }
            Self::Predecessor {
                left,
                lock,
                mut predecessor,
                ..
            } => {
                let (saved, experience) = left.into_parts();
                let failed = |error| StartError::new("taking over", error);
                if !core.succeed(saved, experience).await {
                    let what = "what the engine before serves cannot be served";
                    return Err(failed(io::Error::other(what)));
                }
                predecessor.relieve().map_err(failed)?;
                let disk = Disk::adopt(&config.state_dir, lock.into()).map_err(failed)?;
                core.suspect(disk.suspects());
                Ok(Begun {
                    disk,
                    fell_back: None,
                    predecessor: Some(predecessor),
                })
            }
        }
    }
}
