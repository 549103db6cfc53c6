//! An HTTP/1.1 connection to an upstream.

use std::sync::Arc;

use tokio::time::Instant;
use weft_core::endpoint::State;
use weft_http1::ResponseDecoder;

use super::{Key, Slot};
use crate::bounds::Bounds;
use crate::io::{Input, Stream};
use crate::worker::Life;

/// A connection that is lent to one exchange at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) input: Input,
    pub(crate) decoder: ResponseDecoder,
    /// Where it belongs in the pool.
    pub(crate) key: Key,
    /// Whether it served a request before.
    pub(crate) reused: bool,
    /// It takes no request any more from then on.
    pub(crate) expires: Instant,
    /// It is gone then, whatever is under way; without certificates, never.
    pub(crate) ends: Option<Instant>,
    /// Keeps the endpoint's place in memory, and so its key, from meaning another one.
    _state: Arc<State>,
    pub(crate) slot: Slot,
}

// === impl Connection ===

impl Connection {
    /// A fresh one.
    pub(crate) fn new(
        stream: Stream,
        key: Key,
        life: Option<Life>,
        state: Arc<State>,
        slot: Slot,
        bounds: &Bounds,
    ) -> Self {
        let oldest = Instant::now() + bounds.max_age.0;
        Self {
            stream,
            input: Input::default(),
            decoder: ResponseDecoder::new(bounds.response(life.is_some())),
            key,
            reused: false,
            expires: life.map_or(oldest, |life| life.last.min(oldest)),
            ends: life.map(|life| life.end),
            _state: state,
            slot,
        }
    }

    /// Whether it can take a request: not a byte came unasked, and its time is not over.
    pub(crate) fn is_good(&mut self, now: Instant) -> bool {
        now < self.expires
            && self.input.unread().is_empty()
            && self.decoder.is_idle()
            && self.stream.is_quiet()
    }
}
