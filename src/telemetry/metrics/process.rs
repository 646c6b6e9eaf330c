//! What the system says of this process, under the names that Prometheus clients share
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). Read from `/proc` at a scrape;
//! where there is none, nothing is said.

use std::fmt;

use super::{expose::Exposition, families};

/// Writes what can be known.
///
/// # Errors
/// None but the writer's.
pub fn observe(to: &mut Exposition<'_>) -> fmt::Result {
    let Some(found) = Process::read() else { return Ok(()) };
    to.family(&families::CPU)?.fractional_counter(&[], found.cpu_seconds)?;
    to.family(&families::RESIDENT)?.gauge(&[], found.resident_bytes)?;
    to.family(&families::VIRTUAL)?.gauge(&[], found.virtual_bytes)?;
    to.family(&families::OPEN_FDS)?.gauge(&[], found.open_fds)?;
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        to.family(&families::MAX_FDS)?.gauge(&[], most)?;
    }
    to.family(&families::THREADS)?.gauge(&[], found.threads)?;
    to.family(&families::STARTED)?.fractional_gauge(&[], found.started)
}

#[derive(Debug)]
struct Process {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_fds: u64,
    threads: u64,
    /// Seconds since 1970.
    started: f64,
}

impl Process {
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let system = std::fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
        // The name stands in parentheses and may hold anything, parentheses too. After it comes field 3 of proc(5).
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |number| field(number).map(|count| count as f64 / ticks);
        // The listing's own descriptor is among those listed.
        let open = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        Some(Self {
            cpu_seconds: seconds(14)? + seconds(15)?,
            resident_bytes: field(24)? * rustix::param::page_size() as u64,
            virtual_bytes: field(23)?,
            open_fds: open as u64,
            threads: field(20)?,
            started: boot + seconds(22)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn what_proc_says_makes_sense() {
        use std::time::{SystemTime, UNIX_EPOCH};

        let found = super::Process::read().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // btime is a whole second.
        assert!(found.started <= now + 1.0 && found.started > now - 86_400.0, "{found:?} {now}");
        assert!(found.resident_bytes > 100 << 10 && found.virtual_bytes > found.resident_bytes, "{found:?}");
        assert!(found.open_fds >= 3 && found.threads >= 2 && found.cpu_seconds >= 0.0, "{found:?}");
    }
}
