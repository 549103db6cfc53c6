//! What was acknowledged, on disk: two generations, each whole or not there.
//!
//! A generation is three files with a number in their names: the snapshot with the trust, the keys (mode 0600), and a manifest
//! with the SHA-256 of both and of itself. The manifest is renamed into place last, so that a crash at any byte leaves the
//! generation before. A generation that does not check out is skipped and named in the log.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state::{Keys, Saved, Served};

/// A state directory that this process alone writes.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    newest: u64,
    _lock: File,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    number: u64,
    generation: u64,
    snapshot: String,
    keys: String,
}

/// The layout of the files.
const FORMAT: u32 = 1;

/// How many generations are kept.
const KEPT: usize = 2;

// === impl Disk ===

impl Disk {
    /// Opens the directory, making it with mode 0700; fails where another engine holds it.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another engine has this state directory",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let newest = numbers(dir)?.into_iter().max().unwrap_or(0);
        Ok(Self {
            dir: dir.to_owned(),
            newest,
            _lock: lock,
        })
    }

    /// The newest generation that is whole; `None`: there is none.
    pub(crate) fn load(&self) -> io::Result<Option<Saved>> {
        let mut found = numbers(&self.dir)?;
        found.sort_unstable();
        for number in found.into_iter().rev() {
            match self.read(number) {
                Ok(saved) => return Ok(Some(saved)),
                Err(why) => {
                    tracing::warn!(number, error = %why, "a generation on disk is torn; the one before is used");
                }
            }
        }
        Ok(None)
    }

    /// Writes a generation and forgets all but the last two.
    pub(crate) fn save(&mut self, saved: &Saved) -> io::Result<()> {
        let number = self.newest + 1;
        let snapshot = rmp_serde::to_vec_named(&saved.served).map_err(io::Error::other)?;
        let keys = rmp_serde::to_vec_named(&saved.keys).map_err(io::Error::other)?;
        let manifest = Manifest {
            format: FORMAT,
            number,
            generation: saved.served.generation,
            snapshot: digest(&snapshot),
            keys: digest(&keys),
        };
        let body = serde_json::to_string(&manifest).map_err(io::Error::other)?;
        let manifest = format!("{body}\n{}\n", digest(body.as_bytes()));
        self.write("snapshot", number, &snapshot)?;
        self.write("keys", number, &keys)?;
        self.write("manifest", number, manifest.as_bytes())?;
        self.newest = number;
        self.forget_old()
    }

    fn read(&self, number: u64) -> Result<Saved, String> {
        let text =
            fs::read_to_string(self.path("manifest", number)).map_err(|error| error.to_string())?;
        let (body, sum) = text.split_once('\n').ok_or("the manifest is cut off")?;
        if sum.trim_end() != digest(body.as_bytes()) {
            return Err("the manifest does not match its checksum".to_owned());
        }
        let manifest: Manifest = serde_json::from_str(body).map_err(|error| error.to_string())?;
        if manifest.format != FORMAT || manifest.number != number {
            return Err(format!(
                "the manifest is of format {} and number {}",
                manifest.format, manifest.number
            ));
        }
        let served: Served = self.read_part("snapshot", number, &manifest.snapshot)?;
        let keys: BTreeMap<String, Keys> = self.read_part("keys", number, &manifest.keys)?;
        Ok(Saved { served, keys })
    }

    fn read_part<T: serde::de::DeserializeOwned>(
        &self,
        part: &str,
        number: u64,
        sum: &str,
    ) -> Result<T, String> {
        let bytes =
            fs::read(self.path(part, number)).map_err(|error| format!("{part}: {error}"))?;
        if digest(&bytes) != sum {
            return Err(format!("{part} does not match its checksum"));
        }
        rmp_serde::from_slice(&bytes).map_err(|error| format!("{part}: {error}"))
    }

    fn write(&self, part: &str, number: u64, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.dir.join(format!("{part}.tmp"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path(part, number))?;
        File::open(&self.dir)?.sync_all()
    }

    fn forget_old(&self) -> io::Result<()> {
        let mut found = numbers(&self.dir)?;
        found.sort_unstable();
        let surplus = found.len().saturating_sub(KEPT);
        for number in &found[..surplus] {
            // The manifest first: without it the other two are nothing.
            for part in ["manifest", "keys", "snapshot"] {
                match fs::remove_file(self.path(part, *number)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn path(&self, part: &str, number: u64) -> PathBuf {
        self.dir.join(format!("{part}.{number:020}"))
    }
}

fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("manifest."))
            .and_then(|digits| digits.parse::<u64>().ok());
        found.extend(number);
    }
    Ok(found)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(generation: u64) -> Saved {
        Saved {
            served: Served {
                generation,
                ..Served::default()
            },
            keys: BTreeMap::new(),
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("weft-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    fn loaded(disk: &Disk) -> Option<u64> {
        disk.load()
            .expect("readable")
            .map(|saved| saved.served.generation)
    }

    #[test]
    fn what_was_saved_last_is_loaded_and_two_generations_are_kept() {
        let dir = scratch("kept");
        let mut disk = Disk::open(&dir).expect("opened");
        assert_eq!(loaded(&disk), None);
        for generation in 1..=4 {
            disk.save(&saved(generation)).expect("saved");
        }
        assert_eq!(loaded(&disk), Some(4));
        assert_eq!(numbers(&dir).expect("listed").len(), 2);
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn a_torn_generation_gives_way_to_the_one_before_and_is_never_written_over() {
        let dir = scratch("torn");
        let mut disk = Disk::open(&dir).expect("opened");
        disk.save(&saved(1)).expect("saved");
        disk.save(&saved(2)).expect("saved");
        for part in ["snapshot", "keys", "manifest"] {
            let path = disk.path(part, 2);
            let whole = fs::read(&path).expect("read");
            fs::write(&path, &whole[..whole.len() / 2]).expect("torn");
            assert_eq!(loaded(&disk), Some(1), "{part}");
            fs::write(&path, whole).expect("mended");
        }
        assert_eq!(loaded(&disk), Some(2));
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn a_directory_has_one_writer() {
        let dir = scratch("lock");
        let first = Disk::open(&dir).expect("opened");
        assert_eq!(
            Disk::open(&dir).expect_err("held").kind(),
            io::ErrorKind::ResourceBusy
        );
        drop(first);
        Disk::open(&dir).expect("free again");
        fs::remove_dir_all(&dir).expect("removed");
    }
}
