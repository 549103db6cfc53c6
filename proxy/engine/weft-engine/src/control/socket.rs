//! The Unix socket: who may own it, and who may speak.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The listening socket; its file goes when this does.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    path: Option<PathBuf>,
    uid: u32,
}

// === impl Door ===

impl Door {
    /// Binds it, in place of one that nobody answers at any more.
    pub(crate) async fn open(path: &Path) -> io::Result<Self> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another engine answers there",
            ));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Self::new(listener, path)
    }

    /// The one of an engine that handed it over.
    pub(crate) fn adopt(socket: std::os::unix::net::UnixListener, path: &Path) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Self::new(UnixListener::from_std(socket)?, path)
    }

    fn new(listener: UnixListener, path: &Path) -> io::Result<Self> {
        let uid = UnixStream::pair()?.0.peer_cred()?.uid();
        Ok(Self {
            listener,
            path: Some(path.to_owned()),
            uid,
        })
    }

    /// A second descriptor of it.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Closed here; its file stays, because it is a successor's.
    pub(crate) fn leave(mut self) {
        self.path = None;
    }

    /// The next connection of somebody who may speak: this user or root. Others are turned away with a line in the log.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?;
            if peer.uid() == self.uid || peer.uid() == 0 {
                return Ok(stream);
            }
            tracing::warn!(
                uid = peer.uid(),
                expected = self.uid,
                "somebody else's process at the control socket"
            );
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}
