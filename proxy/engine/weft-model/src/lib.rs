//! What an engine is told: the sections of a snapshot and the frames that carry them.
//!
//! The Python twin of this crate is `proxy/snapshot.py`; golden files below `tests/golden/` are read by both. Every
//! section arrives as one msgpack value with string keys. Unknown fields are refused by name, so that an engine never
//! silently ignores a rule somebody relies on. Durations are whole milliseconds, shares are percentages, addresses are
//! `ip:port`, services are `namespace/name`.

pub mod frame;
pub mod section;
