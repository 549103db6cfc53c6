//! What an engine is told: the sections of a snapshot and the frames that carry them.
//!
//! The Python twin of this crate is `proxy/snapshot.py`; golden files below `tests/golden/` are read by both. Every
//! section arrives as one msgpack value with string keys. Unknown fields are refused by name, so that an engine never
//! silently ignores a rule somebody relies on. Durations are whole milliseconds, shares are percentages, addresses are
//! `ip:port`, services are `namespace/name`.
//!
//! [`snapshot::Snapshot::apply`] is the door: bytes by section name go in, and either a whole new snapshot or one
//! [`refusal::Refusal`] that names section and path comes out. What this crate lets through, the engine can enforce.

pub mod cidr;
pub mod field;
pub mod frame;
pub mod name;
pub mod parse;
pub mod refusal;
pub mod section;
pub mod snapshot;
mod validate;

pub use cidr::Cidr;
pub use name::SectionName;
pub use refusal::{Code, Refusal};
pub use snapshot::Snapshot;
