//! What one exchange needs and an idle connection does not: heads, staged bytes. Reused, so that a request allocates little.

use std::cell::RefCell;

use weft_http1::{RequestHead, ResponseHead};

use super::Replay;
use crate::exchange::Trail;
use crate::io::Output;

/// How many a thread keeps.
const KEPT: usize = 256;

/// Larger vectors are not kept.
const LARGEST: usize = 32 * 1024;

/// The working memory of one exchange.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// What the client asked.
    pub(crate) request: RequestHead,
    /// What the upstream answers.
    pub(crate) response: ResponseHead,
    /// On its way to the client.
    pub(crate) down: Output,
    /// On its way to the upstream.
    pub(crate) up: Output,
    /// Fields that every try of the request gets, as lines.
    pub(crate) lines: Vec<u8>,
    /// The request's body, for a retry.
    pub(crate) replay: Replay,
    /// What was learned of the request on its way.
    pub(crate) trail: Trail,
}

thread_local! {
    #[expect(clippy::vec_box, reason = "they are handed out in their boxes")]
    static FREE: RefCell<Vec<Box<Scratch>>> = const { RefCell::new(Vec::new()) };
}

// === impl Scratch ===

impl Scratch {
    /// A cleared one.
    pub(crate) fn take() -> Box<Self> {
        FREE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Back for the next exchange.
    pub(crate) fn give(mut self: Box<Self>) {
        self.request.clear();
        self.response.clear();
        self.down.clear();
        self.up.clear();
        self.lines.clear();
        self.trail.clear();
        self.replay.start(None);
        if self.down.staged.capacity() > LARGEST || self.up.staged.capacity() > LARGEST {
            return;
        }
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT {
                free.push(self);
            }
        });
    }
}
