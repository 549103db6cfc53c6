//! What must hold for any bytes whatever, as functions that anybody can call: a short run of seeds and mutations in every
//! test run, and a fuzzer guided by coverage in `make fuzz`, both through [`TARGETS`].
//!
//! A check takes bytes and returns, or panics with what did not hold. None of them only waits for a crash: what is read in
//! pieces must be read the same, what is written must read as what was meant, by the codec and by a slow reader that was
//! written apart from it, and what is let in must be something the engine can act on.

mod addresses;
pub mod announcements;
pub mod assembled;
pub mod bodies;
mod chunks;
mod forward;
pub mod frames;
pub mod hellos;
pub mod ids;
mod input;
pub mod mutate;
pub mod paths;
pub mod requests;
pub mod responses;
pub mod sections;
pub mod seeds;
pub mod strict;

// The codec's own tests read with these two: one that tells what a decoder says, and the slow reader.
#[path = "../../weft-http1/tests/harness/mod.rs"]
mod harness;
#[path = "../../weft-http1/tests/reference/mod.rs"]
mod reference;

/// A check of some bytes.
pub type Check = fn(&[u8]);

/// Every check of this crate, by the name that its seeds and its fuzzer have too. The engine has more, which need its inside.
pub const TARGETS: &[(&str, Check)] = &[
    ("requests", requests::check),
    ("bodies", bodies::check),
    ("responses", responses::check),
    ("assembled", assembled::check),
    ("paths", paths::check),
    ("frames", frames::check),
    ("sections", sections::check),
    ("ids", ids::check),
    ("hellos", hellos::check),
    ("announcements", announcements::check),
];
