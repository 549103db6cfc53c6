//! Bytes: services whose protocol is nobody's business here (`tcp`), carried over the mesh's mutual TLS.
//!
//! A connection to a service's own port for an upstream is given to one instance of it, over ALPN `weft-tcp`. The called
//! engine judges the caller, opens the application's port, and only then says, in one byte ([`greeting`]), that bytes may
//! flow or why they do not. Until that byte nothing of the client's was read, so that whatever fails is tried with another
//! instance, and a server that speaks first is heard as if it were asked directly. From then on ([`carry`]) each direction
//! ends alone. Once bytes flow nothing is tried again: what breaks on one side is reset on the other.
//!
//! A gateway passes on TLS that way too, by the server name alone ([`passthrough`]). Where a service's Traffic asks for the
//! PROXY protocol, the gateway calls over ALPN `weft-tcp-proxied` instead, and puts a header of version 2 between the called
//! engine's byte and the client's. Only a gateway may say so: what any other caller's connection is, its address tells.
//! The called engine says it to the application in the version that it was told ([`announce`]). Which way was taken is
//! agreed on in the handshake, so that engines whose policy differs for a moment never take a header for the client's bytes.

mod announce;
mod carry;
mod greeting;
mod inbound;
mod outbound;
mod passthrough;
mod reach;
mod restrain;
mod story;

pub(crate) use inbound::inbound;
pub(crate) use outbound::{Call, outbound};
pub(crate) use passthrough::passthrough;
