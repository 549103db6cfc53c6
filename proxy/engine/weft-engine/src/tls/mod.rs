//! Who is who: certificates, what they must prove, and why a handshake failed.
//!
//! The mesh speaks TLS 1.3 only, always with certificates on both sides. The server name of a connection is
//! `<instance>.<service>.<namespace>.<trust domain>`; the client computes from it, and from its own datacenter, the SPIFFE ID
//! that the server must prove. [`TlsState`] is immutable and published like a snapshot, so that an identity or a bundle can be
//! replaced at any moment: handshakes that begin afterwards use the new one.

mod certificate;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod identity;
#[cfg(any(test, feature = "fuzzing"))]
mod mill;
mod name;
mod provider;
mod reason;
mod state;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;

pub(crate) use certificate::Facts;
#[cfg(test)]
pub(crate) use certificate::Usage;
pub(crate) use identity::{ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP, ALPN_TCP_PROXIED, Configs, Identity};
pub(crate) use name::{PeerName, server_name};
pub(crate) use provider::provider;
pub(crate) use reason::TlsReason;
pub(crate) use state::TlsState;
pub(crate) use trust::{Role, Trust};
