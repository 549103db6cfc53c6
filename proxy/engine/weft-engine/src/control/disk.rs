//! What was acknowledged, on disk: two generations, each whole or not there.
//!
//! A generation is three files with a number in their names: the snapshot with the trust, the keys (mode 0600), and a manifest
//! with the SHA-256 of both and of itself. The manifest is renamed into place last, so that a crash at any byte leaves the
//! generation before. A generation that does not check out is skipped and named in the log.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weft_model::frame::FromEngine;

use super::state::{Keys, Saved, Served};
use super::trial::{Suspects, Trial};

/// A state directory that this process alone writes.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    newest: u64,
    /// Saved last, and whether it can be lived with.
    trial: Trial,
    settling: Option<(u64, Instant)>,
    lock: File,
}

/// Why the newest generation is not the one that is served.
#[derive(Clone, Debug)]
pub(crate) struct FellBack {
    /// `torn` or `crashed`.
    pub(crate) why: &'static str,
    newest: u64,
    instead: Option<u64>,
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

/// How many generations are kept, besides one that served for long enough and one that may yet.
const KEPT: usize = 2;

/// What served for so long is fallen back on.
const PROOF: Duration = Duration::from_secs(60);

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
        Self::adopt(dir, lock)
    }

    /// The directory of an engine that handed over its lock and writes no more.
    pub(crate) fn adopt(dir: &Path, lock: File) -> io::Result<Self> {
        let newest = numbers(dir)?.into_iter().max().unwrap_or(0);
        Ok(Self {
            dir: dir.to_owned(),
            newest,
            trial: Trial::open(dir),
            settling: None,
            lock,
        })
    }

    /// What is refused for what it did.
    pub(crate) fn suspects(&self) -> Suspects {
        self.trial.suspects()
    }

    /// Nothing is written any more: the engine ends in order, or another one goes on here.
    pub(crate) fn end(&self) {
        self.trial.end();
    }

    /// Looks whether a generation has served long enough to be fallen back on.
    pub(crate) fn settle(&mut self) {
        if let Some((number, since)) = self.settling
            && since.elapsed() >= PROOF
        {
            self.trial.prove(number);
            self.settling = (number != self.newest).then(|| (self.newest, Instant::now()));
        }
    }

    /// A second descriptor of the lock: whoever has it may write here.
    pub(crate) fn lock(&self) -> io::Result<OwnedFd> {
        Ok(self.lock.try_clone()?.into())
    }

    /// The newest generation that is whole and did not crash the engine three times within a minute; `None`: there is
    /// none. Where all did, the newest: there is nothing to lose.
    pub(crate) fn load(&mut self) -> io::Result<(Option<Saved>, Option<FellBack>)> {
        let mut found = numbers(&self.dir)?;
        found.sort_unstable();
        let mut fell_back = None;
        let mut crashed: Option<(u64, Saved)> = None;
        let verdict = self.trial.judge();
        for number in found.into_iter().rev() {
            let saved = match self.read(number) {
                Ok(saved) => saved,
                Err(why) => {
                    tracing::error!(number, error = %why, "a generation on disk is torn; the one before is used");
                    fell_back.get_or_insert(FellBack::new("torn", number));
                    continue;
                }
            };
            if !verdict.allows(number) {
                crashed.get_or_insert((number, saved));
                continue;
            }
            if let Some((bad, crashed)) = &crashed {
                tracing::error!(
                    number = bad,
                    "a generation on disk crashed the engine three times within a minute; one before it is used"
                );
                fell_back = Some(FellBack::new("crashed", *bad));
                let (bad, good) = (&crashed.served.sections, &saved.served.sections);
                self.trial.gave_way(bad, good);
            }
            self.begin(number, &mut fell_back);
            return Ok((Some(saved), fell_back));
        }
        let Some((number, saved)) = crashed else {
            return Ok((None, fell_back));
        };
        tracing::error!(
            number,
            "every generation on disk was there when the engine crashed; the newest is tried again"
        );
        self.begin(number, &mut fell_back);
        Ok((Some(saved), fell_back))
    }

    fn begin(&mut self, number: u64, fell_back: &mut Option<FellBack>) {
        self.trial.serves(number);
        self.settling = Some((number, Instant::now()));
        if let Some(fell_back) = fell_back {
            fell_back.instead = Some(number);
        }
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
        self.trial.serves(number);
        self.settling.get_or_insert((number, Instant::now()));
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
        write_private(&temporary, bytes)?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, self.path(part, number))?;
        File::open(&self.dir)?.sync_all()
    }

    fn forget_old(&self) -> io::Result<()> {
        let mut found = numbers(&self.dir)?;
        found.sort_unstable();
        let surplus = found.len().saturating_sub(KEPT);
        let settling = self.settling.map(|(number, _)| number);
        for number in &found[..surplus] {
            if [settling, self.trial.proven()].contains(&Some(*number)) {
                continue;
            }
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

/// A file for its owner alone, not yet waited for.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

// === impl FellBack ===

impl FellBack {
    fn new(why: &'static str, newest: u64) -> Self {
        Self {
            why,
            newest,
            instead: None,
        }
    }

    /// For agents.
    pub(crate) fn event(&self) -> FromEngine {
        let instead = self
            .instead
            .map_or("none".to_owned(), |number| number.to_string());
        let fields = [
            ("why", self.why.to_owned()),
            ("newest", self.newest.to_string()),
            ("instead", instead),
        ];
        FromEngine::Event {
            kind: "fell_back".to_owned(),
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
