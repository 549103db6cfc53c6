//! The HTTP/1.1 codec of the engine: bytes in, events out; no socket, no clock, no opinion about where a request goes.
//!
//! A proxy is attacked where it and its neighbour read the same bytes differently. So this codec reads strictly (in doubt it
//! refuses, with one [`Reject`] out of one table) and writes afresh: the encoder knows no way to copy a peer's framing.
//! httparse tokenizes and memchr scans; what is allowed is decided here.
//!
//! Decoding is one call, [`RequestDecoder::feed`] or [`ResponseDecoder::feed`], which takes what was read and says how much of
//! it was consumed and what it was ([`Step`]). However the bytes are cut into reads, the same steps come out.
//! Heads are owned and reused ([`RequestHead`], [`ResponseHead`]): they outlive the read buffer, and a retry sends them again.
//!
//! ```
//! use weft_http1::{Limits, RequestDecoder, RequestHead, Step};
//!
//! let mut decoder = RequestDecoder::new(Limits::REQUEST);
//! let mut head = RequestHead::new();
//! let input = b"GET /a?b HTTP/1.1\r\nHost: web\r\n\r\n";
//! let (consumed, step) = decoder.feed(input, &mut head);
//! assert_eq!((consumed, step), (input.len(), Step::Head));
//! assert_eq!((head.path(), head.query(), head.authority()), (&b"/a"[..], Some(&b"b"[..]), &b"web"[..]));
//! assert_eq!(decoder.feed(b"", &mut head), (0, Step::End));
//! ```

mod assemble;
mod block;
mod chunked;
mod decode;
pub mod encode;
mod field;
mod fields;
mod framing;
mod head;
mod limits;
mod method;
mod name;
mod reject;
mod scan;
mod start_line;

pub use assemble::{RequestParts, ResponseParts};
pub use decode::{Eof, RequestDecoder, ResponseDecoder, Step};
pub use field::{Field, FieldId};
pub use fields::{Fields, is_name, is_value};
pub use framing::Framing;
pub use head::{RequestHead, ResponseHead, Version};
pub use limits::Limits;
pub use method::Method;
pub use reject::{Reject, Side};
