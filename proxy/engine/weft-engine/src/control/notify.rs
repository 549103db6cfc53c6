//! What a supervisor that asks for it is told, as sd_notify(3) has it: that we serve, which process it is to follow, that we end.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Serving, as the process to follow: a successor takes this over too.
pub(crate) fn ready() {
    say(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// No more, soon.
pub(crate) fn stopping() {
    say("STOPPING=1");
}

fn say(what: &str) {
    let Some(to) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match to.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&to),
    };
    let sent =
        UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(what.as_bytes(), &address?));
    if let Err(error) = sent {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}
