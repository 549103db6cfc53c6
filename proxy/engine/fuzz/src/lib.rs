//! What every fuzzer has: a bound on memory, and libFuzzer around a check.

#[doc(hidden)]
pub use libfuzzer_sys;

/// All of Rust's allocations together, libFuzzer's own aside; beyond it a run ends as a crash.
pub const MEMORY: usize = 256 << 20;

#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, MEMORY);

/// A fuzzer of a check.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $check(data));
    };
}
