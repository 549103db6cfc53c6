//! Every bound of a connection.

use std::time::Duration;

/// Streams that a peer may have open at once.
pub(super) const STREAMS: u32 = 100;

/// What a stream may send before it is credited.
pub(super) const STREAM_WINDOW: u32 = 256 * 1024;

/// What all streams of a connection may.
pub(super) const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What one stream may have waiting for its socket.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// A client's header list.
pub(super) const HEADER_LIST: u32 = 16 * 1024;

/// A peer engine's: what its client may send, and what that engine adds.
pub(super) const MESH_HEADER_LIST: u32 = 32 * 1024;

/// An upstream's.
pub(super) const RESPONSE_HEADER_LIST: u32 = 64 * 1024;

/// Streams we reset of which late frames are still taken.
pub(super) const RESET_STREAMS: usize = 50;

/// Streams that a peer may open and reset before they are looked at.
pub(super) const PENDING_RESETS: usize = 20;

/// Errors of its own making that a peer may have streams reset for.
pub(super) const ERROR_RESETS: usize = 512;

/// How often a peer engine is asked for a sign of life while something is under way.
pub(super) const PING_EVERY: Duration = Duration::from_secs(10);

/// How long it may take to give one.
pub(super) const PING_PATIENCE: Duration = Duration::from_secs(3);

/// From the first byte to the settings of both sides.
pub(super) const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
