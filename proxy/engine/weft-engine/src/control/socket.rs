//! The Unix socket: who may own it, and who may speak.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The listening socket; its file goes when this does.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    path: PathBuf,
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
        let uid = UnixStream::pair()?.0.peer_cred()?.uid();
        Ok(Self {
            listener,
            path: path.to_owned(),
            uid,
        })
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
        let _ = std::fs::remove_file(&self.path);
    }
}
