//! The access log: which requests, what of them, and files that never take more than a bounded part of the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::record::{LineFormat, bounded};

/// `[access_log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Which requests.
    pub(crate) mode: Mode,
    /// How a line looks.
    pub(crate) format: LineFormat,
    /// Where; `access.log` in the state directory where it is left out.
    pub(crate) path: Option<PathBuf>,
    /// A file that is larger is put aside.
    pub(crate) max_bytes: u64,
    /// Files that are kept, the one that is written included.
    pub(crate) files: u32,
    /// The share of requests that did not fail which is logged in mode `all`.
    pub(crate) sample: f64,
    /// So many failures a second; the rest is counted.
    pub(crate) per_second: u32,
    /// What of a query is told.
    pub(crate) query: Query,
    /// Of paths that begin so, nothing more is told.
    pub(crate) redact: Vec<String>,
}

/// Which requests are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// None.
    Off,
    /// Those with a reason, and those answered with 500 or more.
    #[default]
    Failures,
    /// These, and a share of the others.
    All,
}

/// What of a query is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Query {
    /// Nothing.
    #[default]
    Off,
    /// The names of its parameters.
    Names,
    /// All of it.
    All,
}

/// The file that is written, with those before it beside: `access.log.1` is the youngest of them.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    max_bytes: u64,
    files: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    out: BufWriter<File>,
    bytes: u64,
    inode: u64,
}

// === impl Log ===

impl Default for Log {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            format: LineFormat::default(),
            path: None,
            max_bytes: 16 * 1024 * 1024,
            files: 4,
            sample: 1.0,
            per_second: 100,
            query: Query::default(),
            redact: Vec::new(),
        }
    }
}

impl Log {
    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let wrong = |what: String| Err(format!("access_log.{what}"));
        if !(0.0..=1.0).contains(&self.sample) {
            return wrong(format!(
                "sample = {}: expected a share from 0 to 1",
                self.sample
            ));
        }
        if self.max_bytes < 4_096 {
            return wrong(format!(
                "max_bytes = {}: expected at least 4096",
                self.max_bytes
            ));
        }
        if !(1..=1_000).contains(&self.files) {
            return wrong(format!("files = {}: expected 1 to 1000", self.files));
        }
        if self.per_second == 0 {
            return wrong(
                "per_second = 0: expected at least 1; mode = \"off\" logs nothing".to_owned(),
            );
        }
        Ok(())
    }

    /// What may be told of a target: as it came, unless that, or what it became, is a secret.
    pub(super) fn redacted(&self, received: &[u8], target: &[u8]) -> String {
        // An absolute form names the host again.
        let came = if received.starts_with(b"/") {
            received
        } else {
            target
        };
        let secret = |prefix: &&String| {
            [came, target]
                .iter()
                .any(|path| path.starts_with(prefix.as_bytes()))
        };
        if let Some(prefix) = self.redact.iter().find(secret) {
            return format!("{prefix}[redacted]");
        }
        let (path, query) = match came.iter().position(|byte| *byte == b'?') {
            Some(at) => (&came[..at], Some(&came[at + 1..])),
            None => (came, None),
        };
        let mut told = bounded(path);
        match (self.query, query) {
            (Query::Off, _) | (_, None) => {}
            (Query::All, Some(query)) => {
                told.push('?');
                told.push_str(&bounded(query));
            }
            (Query::Names, Some(query)) => {
                let query = bounded(query);
                let names = query
                    .split('&')
                    .map(|pair| pair.split('=').next().unwrap_or(pair));
                told.push('?');
                told.push_str(&names.collect::<Vec<_>>().join("&"));
            }
        }
        told
    }
}

// === impl Files ===

impl Files {
    pub(super) fn new(path: PathBuf, log: &Log) -> Self {
        Self {
            path,
            max_bytes: log.max_bytes,
            files: log.files,
            open: None,
        }
    }

    /// Appends a line.
    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.bytes + length > self.max_bytes)
        {
            self.rotate()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::new(&self.path)?),
        };
        let written = writeln!(open.out, "{line}");
        open.bytes += length;
        self.keep(written)
    }

    /// Writes what is buffered. A file that somebody has taken away is made anew.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let written = open.out.flush();
        let same = std::fs::metadata(&self.path).is_ok_and(|now| now.ino() == open.inode);
        self.keep(written)?;
        if !same {
            self.open = None;
        }
        Ok(())
    }

    /// What could not be written is lost, and the file is opened anew.
    fn keep(&mut self, written: io::Result<()>) -> io::Result<()> {
        if written.is_err()
            && let Some(open) = self.open.take()
        {
            // Else dropping it would write once more.
            drop(open.out.into_parts());
        }
        written
    }

    fn rotate(&mut self) -> io::Result<()> {
        if let Some(mut open) = self.open.take() {
            open.out.flush()?;
        }
        if self.files == 1 {
            return std::fs::remove_file(&self.path);
        }
        for number in (1..self.files - 1).rev() {
            let older = numbered(&self.path, number + 1);
            match std::fs::rename(numbered(&self.path, number), older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.path, numbered(&self.path, 1))
    }
}

// === impl Open ===

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            bytes: metadata.len(),
            inode: metadata.ino(),
            out: BufWriter::with_capacity(64 * 1024, file),
        })
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("weft-log-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    fn used(directory: &Path) -> (usize, u64) {
        let files = std::fs::read_dir(directory).expect("readable");
        let sizes: Vec<u64> = files
            .map(|file| file.expect("there").metadata().expect("there").len())
            .collect();
        (sizes.len(), sizes.iter().sum())
    }

    #[test]
    fn files_are_bounded_in_size_and_number_and_the_youngest_lines_are_kept() {
        let at = directory("bounded");
        let log = Log {
            max_bytes: 4_096,
            files: 3,
            ..Log::default()
        };
        let mut files = Files::new(at.join("access.log"), &log);
        for n in 0..1_000 {
            files.append(&format!("{n:099}")).expect("written");
        }
        files.flush().expect("written");
        let (count, bytes) = used(&at);
        assert_eq!(count, 3);
        assert!((4_096..=3 * 4_096).contains(&bytes), "{bytes}");
        let last = std::fs::read_to_string(at.join("access.log")).expect("there");
        assert!(last.ends_with(&format!("{:099}\n", 999)));
        let before = std::fs::read_to_string(at.join("access.log.1")).expect("there");
        assert_eq!(before.lines().count(), 40);
        std::fs::remove_dir_all(at).expect("removed");
    }

    #[test]
    fn a_file_that_was_taken_away_is_made_anew_and_one_that_is_there_is_continued() {
        let at = directory("taken");
        let path = at.join("access.log");
        let mut files = Files::new(path.clone(), &Log::default());
        files.append("one").expect("written");
        files.flush().expect("written");
        std::fs::rename(&path, at.join("elsewhere")).expect("moved");
        files.flush().expect("nothing to write");
        files.append("two").expect("written");
        files.flush().expect("written");
        let mut next = Files::new(path.clone(), &Log::default());
        next.append("three").expect("written");
        next.flush().expect("written");
        assert_eq!(
            std::fs::read_to_string(path).expect("there"),
            "two\nthree\n"
        );
        std::fs::remove_dir_all(at).expect("removed");
    }

    #[test]
    fn of_a_query_and_of_a_secret_path_only_what_is_allowed_is_told() {
        let told = |query, target: &[u8]| {
            let log = Log {
                query,
                redact: vec!["/invite/".to_owned()],
                ..Log::default()
            };
            log.redacted(target, target)
        };
        assert_eq!(told(Query::Off, b"/a?token=1"), "/a");
        assert_eq!(told(Query::Names, b"/a?token=1&x"), "/a?token&x");
        assert_eq!(told(Query::All, b"/a?token=1"), "/a?token=1");
        assert_eq!(
            told(Query::All, b"/invite/s3cret?a=b"),
            "/invite/[redacted]"
        );
    }
}
