//! What must hold for any bytes, where it takes the engine's inside to ask: checks as those of `weft-proofs`, with a short run
//! among the tests and a fuzzer each.

mod application;
pub mod http2;
pub(crate) mod stage;
#[cfg(test)]
mod tests;

pub use crate::tls::fuzzing as certificates;
