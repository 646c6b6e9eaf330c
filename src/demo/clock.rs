//! The gateway's clock, which its owner can set, and the two forms in which time is written on the wire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

const DAY: i64 = 86_400;

/// The machine's clock plus an offset. Clones share the offset.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// Makes the clock differ from the machine's by so many seconds; negative is behind.
    pub fn set_offset(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// What this clock shows.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        let offset = self.0.load(Ordering::Relaxed);
        let distance = Duration::from_secs(offset.unsigned_abs());
        let now = SystemTime::now();
        let shown = if offset < 0 { now.checked_sub(distance) } else { now.checked_add(distance) };
        shown.unwrap_or(now)
    }
}

/// Whole seconds since 1970 (UTC), negative before.
#[must_use]
pub fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

/// `20150830T123600Z`, ISO 8601 basic format as SigV4 writes it.
#[must_use]
pub fn amz_date(seconds: i64) -> String {
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let (hour, minute, second) = time_of_day(seconds);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Reads what [`amz_date`] writes, and nothing else.
#[must_use]
pub fn parse_amz_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = &bytes[from..to];
        digits
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    // Writing it again catches every field that is out of its range, 30 February too.
    (amz_date(seconds) == text).then_some(seconds)
}

/// `Sun, 30 Aug 2015 12:36:00 GMT`, RFC 9110 section 5.6.7.
#[must_use]
pub fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let since = seconds.div_euclid(DAY);
    let (year, month, day) = civil(since);
    let (hour, minute, second) = time_of_day(seconds);
    let weekday = DAYS[usize::try_from(since.rem_euclid(7)).expect("a remainder by 7 is 0 to 6")];
    let month = MONTHS[usize::try_from(month - 1).expect("civil gives months from 1 to 12")];
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

fn time_of_day(seconds: i64) -> (i64, i64, i64) {
    let within = seconds.rem_euclid(DAY);
    (within / 3600, within / 60 % 60, within % 60)
}

/// Year, month and day of the day so many days after 1 January 1970, in the Gregorian calendar.
///
/// Years are counted from March, so that a leap day is the last of its year; 719,468 days lie between 1 March of
/// year 0 and 1970.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_0 = days + 719_468;
    let era = from_march_0.div_euclid(146_097);
    let day_of_era = from_march_0.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::{Clock, amz_date, http_date, parse_amz_date, seconds};

    #[test]
    fn both_forms_are_written_as_the_standards_show() {
        assert_eq!(amz_date(1_440_938_160), "20150830T123600Z");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(amz_date(951_782_400), "20000229T000000Z");
        assert_eq!(amz_date(-1), "19691231T235959Z");
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for day in 0..40_000 {
            let moment = day * 86_400 + day % 86_400;
            assert_eq!(parse_amz_date(&amz_date(moment)), Some(moment));
        }
        for wrong in [
            "",
            "20150230T000000Z",
            "20151301T000000Z",
            "20150830T246000Z",
            "2015-08-30T12:36Z",
            "+0150830T123600Z",
        ] {
            assert_eq!(parse_amz_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn clones_of_a_clock_are_set_together() {
        let clock = Clock::default();
        let clone = clock.clone();
        let before = seconds(clock.now());
        clone.set_offset(-86_400 * 365);
        assert!(seconds(clock.now()) < before - 86_400 * 364);
    }
}
