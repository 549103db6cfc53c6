//! Bounds of a connection that nobody needs to change: they follow from the others, or cost little.

use std::time::Duration;

/// What one stream may have waiting for its socket.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// What small frames of bodies may lack of 256 bytes, all together, while they wait to be taken: 16,000 of them come in before
/// a burst is looked at. That they are joined then keeps any number of them from adding up.
pub(super) const SMALL_FRAMES: usize = 4 * 1024 * 1024;

/// Streams we reset of which late frames are still taken.
pub(super) const RESET_STREAMS: usize = 50;

/// Streams that a client may open and reset before they are looked at.
pub(super) const PENDING_RESETS: usize = 20;

/// Errors of its own making that a peer may have streams reset for, in the life of its connection; see
/// [`Http2::resets_per_second`](crate::bounds::Http2) for those in a second.
pub(super) const ERROR_RESETS: usize = 100_000;

/// How long a client that is told to leave may take.
pub(super) const GRACE: Duration = Duration::from_secs(10);
