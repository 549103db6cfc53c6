//! The process itself, as the kernel counts it; under the names that every exporter uses.

use std::fs;

use super::super::exposition::{Exposition, Kind};

/// `USER_HZ`: in hundredths of a second whatever the kernel was built with (proc_pid_stat(5), sysconf(3)).
const TICKS: f64 = 100.0;

/// Of `/proc/self/stat`, what stands behind the command's name.
struct Stat {
    cpu: f64,
    threads: f64,
    started: f64,
    virtual_bytes: f64,
}

/// Writes what can be read; the rest is left out.
pub(super) fn write(out: &mut Exposition) {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let resident = status.lines().find_map(|line| {
        let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
        kib.parse::<f64>().ok()
    });
    let open = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as f64 - 1.0);
    let limits = read("/proc/self/limits");
    let most = limits.lines().find_map(|line| {
        let line = line.strip_prefix("Max open files")?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    });
    let stat = Stat::parse(&read("/proc/self/stat"));
    let booted = read("/proc/stat")
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.parse::<f64>().ok());
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            out.family(name, Kind::Gauge, help);
            out.sample(name, "", value);
        }
    };
    gauge(
        "process_resident_memory_bytes",
        "Memory it has.",
        resident.map(|kib| kib * 1024.0),
    );
    gauge(
        "process_virtual_memory_bytes",
        "Memory it may have.",
        stat.as_ref().map(|stat| stat.virtual_bytes),
    );
    gauge("process_open_fds", "Descriptors that are open.", open.ok());
    gauge("process_max_fds", "Descriptors that it may have.", most);
    gauge(
        "process_threads",
        "Threads it has.",
        stat.as_ref().map(|stat| stat.threads),
    );
    gauge(
        "process_start_time_seconds",
        "When it started, in seconds since the epoch.",
        stat.as_ref()
            .zip(booted)
            .map(|(stat, booted)| booted + stat.started),
    );
    if let Some(stat) = stat {
        let name = "process_cpu_seconds_total";
        out.family(name, Kind::Counter, "Time it was on a processor.");
        out.sample(name, "", stat.cpu);
    }
}

// === impl Stat ===

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name stands in parentheses and may have any character in it.
        let rest = text.rsplit_once(')')?.1;
        let fields: Vec<f64> = rest
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        let field = |number: usize| fields.get(number - 4).copied();
        Some(Self {
            cpu: (field(14)? + field(15)?) / TICKS,
            threads: field(20)?,
            started: field(22)? / TICKS,
            virtual_bytes: field(23)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::exposition::Format;
    use super::*;

    #[test]
    fn a_command_with_parentheses_and_spaces_is_read_past() {
        let stat = Stat::parse(
            "7 (a) (b c) S 1 7 7 0 -1 4194304 9 0 0 0 250 50 0 0 20 0 6 0 4200 1048576 99 18446744073709551615",
        );
        let stat = stat.expect("a stat line");
        assert_eq!((stat.cpu, stat.threads), (3.0, 6.0));
        assert_eq!((stat.started, stat.virtual_bytes), (42.0, 1_048_576.0));
    }

    #[test]
    fn this_process_has_memory_descriptors_and_a_start() {
        let mut out = Exposition::new(Format::Prometheus);
        write(&mut out);
        let text = out.finish();
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_cpu_seconds_total",
            "process_start_time_seconds",
        ] {
            assert!(text.contains(&format!("\n{name} ")), "{name} in {text}");
        }
    }
}
