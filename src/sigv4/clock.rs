//! `x-amz-date` and the scope's day, from a time that is given.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// A moment as SigV4 writes it: `20150830T123600Z`, in UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmzDate {
    text: [u8; 16],
    at: SystemTime,
}

impl AmzDate {
    /// Formats a moment; times before 1970 or after 9999 count as the nearest of these.
    #[must_use]
    pub fn new(at: SystemTime) -> Self {
        const LAST: Duration = Duration::from_secs(253_402_300_799);
        let at = UNIX_EPOCH + at.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
        let rfc3339 = humantime::format_rfc3339_seconds(at).to_string();
        let mut text = [b'0'; 16];
        let kept = rfc3339.bytes().filter(|byte| !matches!(byte, b'-' | b':'));
        text.iter_mut().zip(kept).for_each(|(slot, byte)| *slot = byte);
        Self { text, at }
    }

    /// `20150830T123600Z`
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).expect("only ASCII was written")
    }

    /// `20150830`
    #[must_use]
    pub fn day(&self) -> &str {
        &self.as_str()[..8]
    }

    /// The moment itself.
    #[must_use]
    pub const fn at(&self) -> SystemTime {
        self.at
    }
}

/// Reads what [`AmzDate`] writes, and nothing else.
#[must_use]
pub fn parse_amz_date(text: &str) -> Option<SystemTime> {
    let part = |from: usize, to: usize| text.get(from..to);
    let (day, time) = (part(0, 8)?, part(9, 15)?);
    let [year, month, date] = [&day[..4], &day[4..6], &day[6..]];
    let [hour, minute, second] = [&time[..2], &time[2..4], &time[4..]];
    let spelt = format!("{year}-{month}-{date}T{hour}:{minute}:{second}Z");
    let at = humantime::parse_rfc3339(&spelt).ok()?;
    // Written again it shows what was none: another length, another letter, a 30 February.
    (AmzDate::new(at).as_str() == text).then_some(at)
}

/// Formats a moment once a second instead of once a request.
#[derive(Debug, Default)]
pub struct DateCache {
    last: Option<(u64, AmzDate, HeaderValue)>,
}

impl DateCache {
    /// The moment's date, and the value of `x-amz-date`, taken from the last call when that was in the same second.
    pub fn at(&mut self, at: SystemTime) -> (AmzDate, HeaderValue) {
        let second = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match &self.last {
            Some((of, date, value)) if *of == second => (*date, value.clone()),
            _ => {
                let date = AmzDate::new(at);
                let value = HeaderValue::from_str(date.as_str()).expect("a date is visible ASCII");
                self.last = Some((second, date, value.clone()));
                (date, value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AmzDate, DateCache, parse_amz_date};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (951_782_400, "20000229T000000Z"),
            (u64::from(u32::MAX), "21060207T062815Z"),
            (999_999_999_999, "99991231T235959Z"),
        ] {
            let (date, value) = DateCache::default().at(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!((date.as_str(), date.day(), value.as_bytes()), (text, &text[..8], text.as_bytes()));
        }
        assert_eq!(AmzDate::new(UNIX_EPOCH - Duration::from_secs(9)).as_str(), "19700101T000000Z");
    }

    #[test]
    fn dates_are_read_as_they_are_written_and_nothing_else_is() {
        for seconds in [0, 951_782_400, 1_440_938_160, 4_000_000_000] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse_amz_date(AmzDate::new(at).as_str()), Some(at));
        }
        for wrong in [
            "",
            "20150230T000000Z",
            "20150830t123600z",
            "20150830T123600Z ",
            "2015-08-30T12:36",
            "2015083é0T12360Z",
        ] {
            assert_eq!(parse_amz_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_cache_follows_the_clock_both_ways() {
        let mut cache = DateCache::default();
        for seconds in [100, 100, 101, 7] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(cache.at(at).0, AmzDate::new(at));
        }
    }
}
