//! Whether a state can be lived with: what crashed the engine three times within a minute is not served again for a while.
//!
//! Beside the generations stand three small files. `serving` says which generation is served, from its start to an end in
//! order; `applying` says which sections a change brings, until that change is on disk. Whoever starts and finds them follows
//! a crash, and counts it in `trial`. After the third within a minute, the sections that a change brought are suspects; or,
//! where it was a generation on disk, the one before it is served, and what differs are suspects: rules first, endpoints only
//! if it happens again. Suspects are refused by name (`crashed`) until they change, or their time is over, which doubles.
//!
//! These files are written without waiting for the disk: a process that dies loses nothing of them, and a machine that does
//! loses a count.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use weft_model::Snapshot;

use super::disk::digest;

/// So many crashes are no accident,
const CRASHES: usize = 3;

/// if they come within this.
const WITHIN: u64 = 60;

/// Suspects are refused for so long at first.
const SENTENCE: u64 = 600;

/// The longest.
const LONGEST: u64 = 24 * 3600;

/// Section names with what they held.
pub(crate) type Sections = BTreeMap<String, String>;

/// The record of a state directory.
#[derive(Debug)]
pub(crate) struct Trial {
    dir: PathBuf,
    record: Record,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    crashes: Vec<Crash>,
    /// A generation that served for a minute.
    proven: Option<u64>,
    suspects: Sections,
    until: u64,
    times: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Crash {
    at: u64,
    /// The generation on disk that was served.
    number: u64,
    /// What a change had just brought.
    #[serde(default)]
    brought: Sections,
}

#[derive(Debug, Serialize, Deserialize)]
struct Serving {
    number: u64,
}

/// What is to be done after the crashes so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The newest generation may be served.
    Newest,
    /// Nothing from this number on.
    Before(u64),
}

impl Verdict {
    /// Whether a generation may be served.
    pub(crate) fn allows(&self, number: u64) -> bool {
        match self {
            Self::Newest => true,
            Self::Before(bound) => number < *bound,
        }
    }
}

/// What the core asks before it applies, and says when it did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspects {
    sections: Sections,
    until: u64,
    applying: Option<PathBuf>,
}

// === impl Trial ===

impl Trial {
    /// Of a directory that is ours; counts a crash where the engine before did not end in order.
    pub(crate) fn open(dir: &Path) -> Self {
        Self::open_at(dir, now())
    }

    fn open_at(dir: &Path, now: u64) -> Self {
        let mut trial = Self {
            dir: dir.to_owned(),
            record: read(&dir.join("trial")).unwrap_or_default(),
        };
        let serving: Option<Serving> = read(&dir.join("serving"));
        let brought: Option<Sections> = read(&dir.join("applying"));
        if serving.is_some() || brought.is_some() {
            let record = &mut trial.record;
            record.crashes.push(Crash {
                at: now,
                number: serving.map_or(0, |serving| serving.number),
                brought: brought.unwrap_or_default(),
            });
            record.crashes.retain(|crash| now < crash.at + WITHIN);
            trial.end();
            trial.keep();
        }
        trial
    }

    /// What the crashes of the last minute mean; those sections that a change brought are suspects from now on.
    pub(crate) fn judge(&mut self) -> Verdict {
        self.judge_at(now())
    }

    fn judge_at(&mut self, now: u64) -> Verdict {
        let recent = self.record.crashes.iter();
        let recent: Vec<Crash> = recent
            .filter(|crash| now < crash.at + WITHIN)
            .cloned()
            .collect();
        if recent.len() < CRASHES {
            return Verdict::Newest;
        }
        let mut brought = recent.iter().filter(|crash| !crash.brought.is_empty());
        if brought.clone().count() + 1 >= CRASHES
            && let Some(last) = brought.next_back()
        {
            self.accuse(last.brought.clone(), now);
            return Verdict::Newest;
        }
        let first = recent.iter().map(|crash| crash.number).min();
        first.map_or(Verdict::Newest, Verdict::Before)
    }

    /// One generation gave way to another: what differs between them is suspect.
    pub(crate) fn gave_way(
        &mut self,
        bad: &BTreeMap<String, ByteBuf>,
        good: &BTreeMap<String, ByteBuf>,
    ) {
        let differs = |(name, bytes): &(&String, &ByteBuf)| good.get(*name) != Some(*bytes);
        let is_rule = |name: &str| !name.starts_with("endpoints/");
        let changed: Sections = bad
            .iter()
            .filter(differs)
            .filter(|(name, _)| *name != "host")
            .map(|(name, bytes)| (name.clone(), digest(bytes)))
            .collect();
        let rules: Sections = changed
            .iter()
            .filter(|(name, _)| is_rule(name))
            .map(|(name, held)| (name.clone(), held.clone()))
            .collect();
        // A kill from outside looks the same, and to lose endpoints for it would cost more than it helps.
        let again = self.record.times > 0;
        self.accuse(if again { changed } else { rules }, now());
    }

    fn accuse(&mut self, suspects: Sections, now: u64) {
        let record = &mut self.record;
        if now > record.until + LONGEST {
            record.times = 0;
        }
        record.until = now + (SENTENCE << record.times.min(16)).min(LONGEST);
        record.times += 1;
        record.suspects = suspects;
        self.keep();
    }

    /// What is refused, for the core.
    pub(crate) fn suspects(&self) -> Suspects {
        Suspects {
            sections: self.record.suspects.clone(),
            until: self.record.until,
            applying: Some(self.dir.join("applying")),
        }
    }

    /// A generation is served, and on disk.
    pub(crate) fn serves(&self, number: u64) {
        write(&self.dir.join("serving"), &Serving { number });
        remove(&self.dir.join("applying"));
    }

    /// This generation served for a minute.
    pub(crate) fn prove(&mut self, number: u64) {
        self.record.proven = Some(number);
        self.keep();
    }

    /// The last that was proven.
    pub(crate) fn proven(&self) -> Option<u64> {
        self.record.proven
    }

    /// The engine ends in order, or another one goes on here.
    pub(crate) fn end(&self) {
        remove(&self.dir.join("serving"));
        remove(&self.dir.join("applying"));
    }

    fn keep(&self) {
        write(&self.dir.join("trial"), &self.record);
    }
}

// === impl Suspects ===

impl Suspects {
    /// Those of these sections that are refused, and for how many seconds still.
    pub(crate) fn among(&self, set: &BTreeMap<String, ByteBuf>) -> Option<(Vec<String>, u64)> {
        let left = self.until.checked_sub(now()).filter(|left| *left > 0)?;
        let found = self
            .sections
            .iter()
            .filter(|(name, held)| set.get(*name).is_some_and(|bytes| digest(bytes) == **held));
        let found: Vec<String> = found.map(|(name, _)| name.clone()).collect();
        (!found.is_empty()).then_some((found, left))
    }

    /// A change begins: what it brings is known to whoever finds that it killed us.
    pub(crate) fn applying(&self, before: &Snapshot, set: &BTreeMap<String, ByteBuf>) {
        let Some(path) = &self.applying else {
            return;
        };
        let brought: Sections = set
            .iter()
            .filter(|(name, bytes)| *name != "host" && before.bytes(name) != Some(bytes.as_ref()))
            .map(|(name, bytes)| (name.clone(), digest(bytes)))
            .collect();
        if !brought.is_empty() {
            write(path, &brought);
        }
    }

    /// It was refused.
    pub(crate) fn refused(&self) {
        if let Some(path) = &self.applying {
            remove(path);
        }
    }
}

fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.unwrap_or(Duration::ZERO).as_secs()
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &Path, value: &impl Serialize) {
    let beside = path.with_extension("new");
    let written = serde_json::to_vec(value)
        .map_err(io::Error::other)
        .and_then(|bytes| super::disk::write_private(&beside, &bytes))
        .and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "crashes cannot be counted");
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "crashes cannot be counted");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("weft-trial-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("made");
        dir
    }

    fn sections(list: &[(&str, &str)]) -> BTreeMap<String, ByteBuf> {
        list.iter()
            .map(|(name, bytes)| ((*name).to_owned(), ByteBuf::from(bytes.as_bytes().to_vec())))
            .collect()
    }

    #[test]
    fn three_crashes_within_a_minute_condemn_every_generation_that_was_served_then() {
        let dir = scratch("minute");
        for (at, number, verdict) in [
            (100, 7, Verdict::Newest),
            (130, 7, Verdict::Newest),
            (161, 8, Verdict::Newest), // the first is forgotten
            (162, 8, Verdict::Before(7)),
        ] {
            Trial::open_at(&dir, at - 1).serves(number);
            assert_eq!(Trial::open_at(&dir, at).judge_at(at), verdict, "at {at}");
        }
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn an_end_in_order_is_no_crash() {
        let dir = scratch("order");
        for at in [1, 2, 3, 4] {
            let mut trial = Trial::open_at(&dir, at);
            assert_eq!(trial.judge_at(at), Verdict::Newest);
            trial.serves(9);
            trial.end();
        }
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn a_change_that_kills_before_it_is_on_disk_makes_what_it_brought_suspect() {
        let dir = scratch("brought");
        let poison = sections(&[("host", "h"), ("service/a/b", "x"), ("service/a/c", "y")]);
        for at in [1, 2, 3] {
            let mut trial = Trial::open_at(&dir, at);
            assert_eq!(trial.judge_at(at), Verdict::Newest);
            trial.serves(4);
            trial.suspects().applying(&Snapshot::default(), &poison);
        }
        let mut trial = Trial::open_at(&dir, now());
        for crash in &mut trial.record.crashes {
            crash.at = now();
        }
        trial.record.crashes = vec![trial.record.crashes[0].clone(); 3];
        assert_eq!(trial.judge(), Verdict::Newest, "the disk is not to blame");
        let (found, left) = trial.suspects().among(&poison).expect("refused");
        assert_eq!(found, ["service/a/b", "service/a/c"]);
        assert!((SENTENCE - 5..=SENTENCE).contains(&left));
        let mended = sections(&[("service/a/b", "z")]);
        assert_eq!(trial.suspects().among(&mended), None);
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn rules_are_suspected_before_endpoints_and_longer_every_time() {
        let dir = scratch("suspects");
        let mut trial = Trial::open(&dir);
        let bad = sections(&[
            ("endpoints/a/b", "2"),
            ("service/a/b", "2"),
            ("service/a/c", "1"),
        ]);
        let good = sections(&[
            ("endpoints/a/b", "1"),
            ("service/a/b", "1"),
            ("service/a/c", "1"),
        ]);
        trial.gave_way(&bad, &good);
        let names = |trial: &Trial| trial.suspects().among(&bad).expect("refused");
        assert_eq!(names(&trial).0, ["service/a/b"]);
        trial.gave_way(&bad, &good);
        let (found, left) = names(&trial);
        assert_eq!(found, ["endpoints/a/b", "service/a/b"]);
        assert!(left > SENTENCE);
        fs::remove_dir_all(&dir).expect("removed");
    }
}
