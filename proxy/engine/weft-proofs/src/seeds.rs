//! What runs begin with: `make seeds` writes it from the tables of other tests, and what a fuzzer found stays beside it for good.
//!
//! A file is a list of texts, each of whose characters is one byte, so that a difference can be read.

use std::path::Path;

/// Below the engine's folder.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");

/// The seeds of a target and what was found with it; panics where they cannot be read.
#[must_use]
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = read(&Path::new(FOLDER).join(format!("seeds/{target}.json")));
    let found = Path::new(FOLDER).join(format!("found/{target}.json"));
    if found.exists() {
        seeds.extend(read(&found));
    }
    seeds
}

/// An input as the files write it.
#[must_use]
pub fn text(input: &[u8]) -> String {
    let text: String = input.iter().map(|byte| char::from(*byte)).collect();
    serde_json::to_string(&text).expect("a string is written to memory")
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let texts: Vec<String> =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let bytes = |text: String| {
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).expect("a character is one byte"))
            .collect()
    };
    texts.into_iter().map(bytes).collect()
}
