//! A hash for tables that a request looks into: a few instructions, where the usual one takes two hundred.
//!
//! It is no defence against keys that were chosen to collide. Whoever puts something into such a table has to be the engine
//! itself or its configuration; a client may ask for whatever it likes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table of ours.
pub(crate) type Folded<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;

/// Multiplies, a word at a time, and folds the product's upper half into its lower.
#[derive(Debug, Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, left) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        // What is left, together with whatever is before it: lengths tell apart what looks the same by that.
        let rest = match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>()) {
            _ if left.is_empty() => return,
            (Some(last), _) => u64::from_le_bytes(*last),
            (None, Some(first)) => {
                let last = bytes.last_chunk::<4>().unwrap_or(first);
                u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
            }
            (None, None) => bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        self.write_u64(rest);
        self.write_usize(bytes.len());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number ^ 0xc2b2_ae3d_27d4_eb4f) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};
    use std::net::SocketAddr;

    use super::*;

    fn hash(key: &(impl Hash + ?Sized)) -> u64 {
        BuildHasherDefault::<Fold>::default().hash_one(key)
    }

    /// How full the fullest of 4,096 buckets is, by the lowest bits, which choose it, and how many values the highest seven have.
    fn spread(hashes: &[u64]) -> (usize, usize) {
        let mut buckets = vec![0; 4096];
        hashes
            .iter()
            .for_each(|hash| buckets[*hash as usize % 4096] += 1);
        let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        (buckets.into_iter().max().unwrap_or(0), tags.len())
    }

    #[test]
    fn names_of_services_are_spread() {
        let hashes: Vec<u64> = (0..4096)
            .map(|number| hash(format!("shop/service-{number}").as_str()))
            .collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 4096);
        let (fullest, tags) = spread(&hashes);
        assert!(fullest <= 12 && tags == 128, "{fullest} {tags}");
    }

    #[test]
    fn addresses_are_spread() {
        let hashes: Vec<u64> = (0..4096_u16)
            .map(|number| hash(&SocketAddr::from(([127, 0, 0, 1], 20_000 + number))))
            .collect();
        let (fullest, tags) = spread(&hashes);
        assert!(fullest <= 12 && tags == 128, "{fullest} {tags}");
    }

    #[test]
    fn bytes_of_every_length_count() {
        let text = "abcdefghijklmnopqrstuvwxyz";
        let all: HashSet<u64> = (0..=text.len()).map(|end| hash(&text[..end])).collect();
        assert_eq!(all.len(), text.len() + 1);
        for at in 0..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[at] ^= 1;
            assert_ne!(hash(&other[..]), hash(text.as_bytes()), "{at}");
        }
    }
}
