//! The same request many times, one after the other over one kept connection: what came, and how long it took.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    num::NonZeroU32,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;

use super::{Line, RequestError, Wanted, answer::beginning};
use crate::{
    cli::output,
    proxy::{self, Came},
};

/// What is told of all of them. Times are microseconds, from the sending to the answer's last byte, signing included.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Tally {
    sent: u32,
    /// How many answers had each status.
    statuses: BTreeMap<u16, u32>,
    /// How many had none, by the code of the refusal.
    refused: BTreeMap<String, u32>,
    /// How many broke off.
    cut: u32,
    micros: Option<Micros>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Micros {
    least: u64,
    median: u64,
    p95: u64,
    most: u64,
}

impl Micros {
    /// Of the answers that were whole; the rank of a percentile is rounded up.
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).checked_sub(1)?);
        Some(Self {
            least: micros(times.first()?),
            median: micros(rank(50)?),
            p95: micros(rank(95)?),
            most: micros(times.last()?),
        })
    }
}

/// Sends them, and gives the worst status. Those that were refused or cut count as none; they are an error when there
/// was nothing else. A signal ends it, and what came until then is told.
pub(super) fn send(
    line: &mut Line,
    wanted: &Wanted,
    body: &Bytes,
    times: NonZeroU32,
) -> Result<Result<u16, RequestError>, RequestError> {
    let (mut tally, mut took) = (Tally::default(), Vec::new());
    let mut last = None;
    let shared = Rc::clone(&line.shared);
    for _ in 0..times.get() {
        let began = Instant::now();
        let come = async |came| match came {
            Came::Refused(refused) => Err(RequestError::Refused(refused)),
            Came::Answer(answer) => beginning(answer).await.map_err(|_| RequestError::Cut(0)),
        };
        let came = match line.wait(proxy::send(&shared, wanted.asked.request(body.clone()), come)) {
            Ok(came) => came.map_err(|error| RequestError::NotHttp(error.to_string()))?,
            Err(stopped) => {
                last = Some(stopped);
                break;
            }
        };
        tally.sent += 1;
        match came {
            Ok(answer) => {
                took.push(began.elapsed());
                *tally.statuses.entry(answer.status().as_u16()).or_default() += 1;
            }
            Err(error) => {
                match &error {
                    RequestError::Refused(refused) => {
                        *tally.refused.entry(refused.code.clone()).or_default() += 1;
                    }
                    _ => tally.cut += 1,
                }
                last = Some(error);
            }
        }
    }
    tally.micros = Micros::of(took);
    let printed = if wanted.json { output::json(&tally) } else { output::print(&tally.text()) };
    let worst = tally.statuses.keys().next_back().copied().unwrap_or_default();
    Ok(printed.map_err(RequestError::from).and_then(|()| last.map_or(Ok(worst), Err)))
}

impl Tally {
    fn text(&self) -> String {
        let mut out = format!("{} sent\n", self.sent);
        let mut row = |what: &str, count: u32| {
            let _ = writeln!(out, "  {what:<24} {count}");
        };
        for (status, count) in &self.statuses {
            row(&status.to_string(), *count);
        }
        for (code, count) in &self.refused {
            row(code, *count);
        }
        if self.cut > 0 {
            row("broke off", self.cut);
        }
        if let Some(micros) = &self.micros {
            let shown = |micros: u64| format!("{}.{} ms", micros / 1000, micros / 100 % 10);
            let _ = writeln!(
                out,
                "  least {}, median {}, 95% {}, most {}",
                shown(micros.least),
                shown(micros.median),
                shown(micros.p95),
                shown(micros.most)
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{Micros, Tally};

    #[test]
    fn times_are_told_by_rank() {
        let times = (1..=20).rev().map(Duration::from_millis).collect();
        let expected = Micros { least: 1000, median: 10_000, p95: 19_000, most: 20_000 };
        assert_eq!(Micros::of(times), Some(expected));
        let one = Micros { least: 7, median: 7, p95: 7, most: 7 };
        assert_eq!(Micros::of(vec![Duration::from_micros(7)]), Some(one));
        assert_eq!(Micros::of(Vec::new()), None);
    }

    #[test]
    fn what_is_told() {
        let tally = Tally {
            sent: 12,
            statuses: BTreeMap::from([(200, 9), (403, 1)]),
            refused: BTreeMap::from([("too-many-requests".to_owned(), 1)]),
            cut: 1,
            micros: Some(Micros { least: 950, median: 1234, p95: 20_199, most: 20_200 }),
        };
        let expected = "\
12 sent
  200                      9
  403                      1
  too-many-requests        1
  broke off                1
  least 0.9 ms, median 1.2 ms, 95% 20.1 ms, most 20.2 ms
";
        assert_eq!(tally.text(), expected);
    }
}
