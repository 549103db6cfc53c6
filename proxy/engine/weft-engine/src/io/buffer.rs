//! Read buffers from a thread's free list, so that an idle connection owns none.
//!
//! Read size is everything for large bodies: a buffer that keeps coming full is exchanged for the next size, as long as the
//! thread's budget for large ones lasts.

use std::cell::RefCell;
use std::fmt;

/// The sizes there are, in bytes.
const SIZES: [usize; 4] = [16 * 1024, 64 * 1024, 256 * 1024, 512 * 1024];

/// How many free ones of each size a thread keeps.
const KEPT: [usize; 4] = [256, 32, 8, 4];

/// Bytes in buffers larger than the smallest that one thread may have out at once.
const BUDGET: usize = 64 * 1024 * 1024;

struct FreeList {
    free: [Vec<Box<[u8]>>; 4],
    large_out: usize,
}

thread_local! {
    static LIST: RefCell<FreeList> = const { RefCell::new(FreeList { free: [const { Vec::new() }; 4], large_out: 0 }) };
}

/// Memory to read into; goes back to its thread's list when dropped.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    class: usize,
}

// === impl Buffer ===

impl Buffer {
    /// The smallest size there is.
    pub(crate) fn smallest() -> Self {
        Self::of_class(0)
    }

    /// The next size, if there is one and the budget allows it.
    pub(crate) fn larger(&self) -> Option<Self> {
        let class = self.class + 1;
        let size = *SIZES.get(class)?;
        let allowed = LIST.with_borrow_mut(|list| {
            let allowed = list.large_out + size <= BUDGET;
            if allowed {
                list.large_out += size;
            }
            allowed
        });
        allowed.then(|| Self::of_class(class))
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All of it, to be filled.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn of_class(class: usize) -> Self {
        let bytes = LIST
            .with_borrow_mut(|list| list.free[class].pop())
            .unwrap_or_else(|| vec![0; SIZES[class]].into_boxed_slice());
        Self { bytes, class }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // The list is gone while its thread ends; then the memory is simply freed.
        let _ = LIST.try_with(|list| {
            let Ok(mut list) = list.try_borrow_mut() else {
                return;
            };
            if self.class > 0 {
                list.large_out = list.large_out.saturating_sub(bytes.len());
            }
            if list.free[self.class].len() < KEPT[self.class] {
                list.free[self.class].push(bytes);
            }
        });
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let first = Buffer::smallest();
        let address = first.bytes().as_ptr();
        drop(first);
        assert_eq!(Buffer::smallest().bytes().as_ptr(), address);
    }

    #[test]
    fn buffers_grow_to_512_kib_and_no_further() {
        let mut buffer = Buffer::smallest();
        let mut sizes = vec![buffer.bytes().len()];
        while let Some(larger) = buffer.larger() {
            sizes.push(larger.bytes().len());
            buffer = larger;
        }
        assert_eq!(sizes, SIZES);
    }

    #[test]
    fn the_budget_for_large_buffers_is_kept_and_given_back() {
        std::thread::spawn(|| {
            let small = Buffer::smallest();
            let out: Vec<_> = std::iter::from_fn(|| small.larger()).collect();
            assert_eq!(out.len(), BUDGET / SIZES[1]);
            drop(out);
            assert!(small.larger().is_some());
        })
        .join()
        .expect("no panic");
    }
}
