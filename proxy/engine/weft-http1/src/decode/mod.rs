//! The decoders: a message is a head, pieces of a body, perhaps trailers, and an end.

mod body;
mod request;
mod response;

use std::ops::Range;

pub use request::RequestDecoder;
pub use response::ResponseDecoder;

use crate::reject::Reject;

/// What a decoder found in its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All of the input was consumed, and the next step is not complete yet: read more.
    Need,
    /// The head passed to `feed` is filled. Every message begins so.
    Head,
    /// These bytes of the input belong to the body; never empty.
    Data(Range<usize>),
    /// The body had trailers; the decoder holds them until the next message begins.
    Trailers,
    /// The message is complete, also one without a body. What was not consumed belongs to the next one.
    End,
    /// The message is refused, and so is everything after it: the decoder says the same from now on.
    Bad(Reject),
}

/// What the end of the input means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eof {
    /// It came between two messages.
    Clean,
    /// It ends the body: the message is complete, though its connection is not to be used again.
    Complete,
    /// It came within a message, which is lost.
    Truncated,
}
