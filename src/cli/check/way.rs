//! The way to a stage: its name, TLS, an answer, and what time it is there.

use std::{
    error::Error,
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use http::{Method, header, uri::PathAndQuery};

use super::{
    CheckError, Lines,
    parse::Ask,
    report::{Finding, Report},
    tries::request,
};
use crate::{
    cli::request::beginning,
    proxy::{self, Came},
    upstream::{self, LookError, MOST_DAYS},
};

/// A certificate that lasts so few days is about to be forgotten: those that renew themselves do it earlier.
const FEW_DAYS: u32 = 14;
/// Seconds that clocks may differ: an answer takes its time, and `Date` is whole seconds.
const SLACK: u64 = 5;
/// Beyond this a gateway refuses what is signed (its window is five minutes).
const WINDOW: u64 = 300;

/// Looks, and says whether the stage answers at all.
pub(super) async fn look(lines: &Lines<'_>, report: &Report) -> Result<bool, CheckError> {
    let stage = lines.stage;
    let (url, connect_to) = (&stage.url, stage.connect_to.as_ref());
    let host = connect_to.map_or(url.host.as_str(), |(host, _)| host);
    match upstream::addresses(url, connect_to, stage.timeouts).await {
        Ok(found) => {
            let shown: Vec<_> = found.iter().take(2).map(ToString::to_string).collect();
            let more = match found.len().saturating_sub(shown.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            report.add(Finding::ok(
                "dns",
                match host.parse::<IpAddr>() {
                    Ok(_) => format!("{host}, which needs no looking up"),
                    Err(_) => format!("{host} is {}{more}", shown.join(", ")),
                },
            ));
        }
        Err(error) => {
            let finding = Finding::fail("dns", format!("{host} has no address: {error}"));
            report.add(finding.fix(
                "look at the URL, and at this machine's DNS; a private API is known only within its VPC",
            ));
            return Ok(false);
        }
    }
    match upstream::look(url, connect_to, stage.ca_bundle.as_deref(), stage.timeouts).await {
        Ok(seen) => report.add(match seen {
            None => Finding::ok("tls", "none, to this machine"),
            Some(seen) if seen.days < FEW_DAYS => {
                let what = format!("the certificate is good for {} more days", seen.days);
                Finding::warn("tls", what).fix("have it renewed: from then on every request fails")
            }
            Some(seen) => {
                let days = match seen.days {
                    MOST_DAYS.. => "more than a year".to_owned(),
                    days => format!("{days} days"),
                };
                Finding::ok("tls", format!("TLS {}, trusted for {days}", seen.version))
            }
        }),
        Err(error) => {
            let (check, fix) = match &error {
                LookError::Failure(failure) => ("connect", failure.advice()),
                LookError::Roots(_) => ("tls", None),
            };
            let finding = Finding::fail(check, with_cause(&error));
            report.add(
                finding.fix(fix.unwrap_or("look at the URL, the network, and at connect_to if it is set")),
            );
            return Ok(false);
        }
    }
    answer(lines, report).await
}

/// What the root says to somebody who has nothing, and by which clock.
async fn answer(lines: &Lines<'_>, report: &Report) -> Result<bool, CheckError> {
    let target = PathAndQuery::try_from(lines.stage.mount.as_str()).expect("a mount is a path");
    let ask = Ask { method: Method::GET, target };
    let (line, began) = (lines.with(None)?, Instant::now());
    let sent = proxy::send(&line, request(&ask), async |came| match came {
        Came::Answer(answer) => beginning(answer).await.map_err(|error| (error.to_string(), None)),
        Came::Refused(refused) => Err((format!("{}: {}", refused.code, refused.message), Some(refused.hint))),
    });
    match sent.await.map_err(|error| CheckError::NotHttp(error.to_string()))? {
        Ok(answer) => {
            let (status, took) = (answer.status().as_u16(), began.elapsed().as_millis());
            report.add(Finding::ok("answer", format!("{status} to an unsigned GET in {took} ms")));
            let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
            if let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) {
                report.add(clock(SystemTime::now(), date));
            }
            Ok(true)
        }
        Err((what, fix)) => {
            let finding = Finding::fail("answer", what);
            report.add(fix.into_iter().fold(finding, Finding::fix));
            Ok(false)
        }
    }
}

fn clock(ours: SystemTime, theirs: SystemTime) -> Finding {
    let (direction, distance) = match theirs.duration_since(ours) {
        Ok(behind) => ("behind", behind),
        Err(ahead) => ("ahead of", ahead.duration()),
    };
    let seconds = distance.as_secs();
    if seconds <= SLACK {
        return Finding::ok("clock", "as the gateway's");
    }
    let shown = humantime::format_duration(Duration::from_secs(seconds));
    let more = if seconds < WINDOW {
        ""
    } else {
        ": the first request of a run is refused and sent again by its time"
    };
    Finding::warn("clock", format!("{shown} {direction} the gateway's{more}"))
        .fix("set this machine's clock, by NTP")
}

/// An error and the innermost of its causes.
fn with_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let (what, why) = (error.to_string(), cause.to_string());
    if what == why { what } else { format!("{what}: {why}") }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Finding, clock};

    #[test]
    fn how_far_clocks_are_apart() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let off = |seconds: u64| now + Duration::from_secs(seconds);
        assert_eq!(clock(now, off(5)), Finding::ok("clock", "as the gateway's"));
        let fix = "set this machine's clock, by NTP";
        assert_eq!(clock(now, off(90)), Finding::warn("clock", "1m 30s behind the gateway's").fix(fix));
        let far =
            "10m ahead of the gateway's: the first request of a run is refused and sent again by its time";
        assert_eq!(clock(off(600), now), Finding::warn("clock", far).fix(fix));
    }
}
