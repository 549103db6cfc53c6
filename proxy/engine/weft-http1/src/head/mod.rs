//! Heads, owned: they outlive the buffer they were read from, and are reused for the next message.

mod request;
mod response;

pub use request::RequestHead;
pub use response::ResponseHead;

/// The two versions this codec speaks. What it writes is always 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}
