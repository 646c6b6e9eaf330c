//! Numbers: how many, how large, how long.

use std::{num::NonZeroUsize, str::FromStr, time::Duration};

use bytesize::ByteSize;
use schemars::{Schema, json_schema};

use super::Written;
use crate::config::error::Mistake;

/// A whole number, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub NonZeroUsize);

impl FromStr for Count {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        text.parse()
            .map(Self)
            .map_err(|_| Mistake::new(format!("{text:?} is not a whole number of at least 1")))
    }
}

impl Written for Count {
    const EXPECTED: &'static str = "a whole number of at least 1";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        n.to_string().parse()
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        let mistake = Mistake::new(format!("expected {}, found the string {text:?}", Self::EXPECTED));
        Err(match text.parse::<Self>() {
            Ok(_) => mistake.fix(format!("write {text} without quotes")),
            Err(_) => mistake,
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1 })
    }
}

/// A number of bytes, at least one. `MB` is read as `MiB`: that is how AWS writes its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let text = text.trim();
        let wrong = || {
            Mistake::new(format!("{text:?} is not a size"))
                .fix("write a number and a unit, such as \"10MiB\"")
        };
        let (number, unit) =
            text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
        let number = number.trim();
        let lower = unit.to_ascii_lowercase();
        let unit = match lower.as_str() {
            "k" | "kb" => "kib",
            "m" | "mb" => "mib",
            "g" | "gb" => "gib",
            "" => "b",
            "b" | "kib" | "mib" | "gib" => &lower,
            _ => return Err(wrong()),
        };
        let bytes: ByteSize = format!("{number}{unit}").parse().map_err(|_| wrong())?;
        Self::positive(bytes.as_u64())
    }
}

impl Size {
    fn positive(bytes: u64) -> Result<Self, Mistake> {
        if bytes == 0 {
            return Err(Mistake::new("a size must be more than nothing"));
        }
        Ok(Self(bytes))
    }
}

impl Written for Size {
    const EXPECTED: &'static str = "a size such as \"10MiB\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        Self::positive(u64::try_from(n).map_err(|_| Mistake::new("a size must be more than nothing"))?)
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": ["10MiB", 10_485_760] })
    }
}

fn duration(text: &str) -> Result<Duration, Mistake> {
    let wrong = || {
        let fix = match text.trim().parse::<u64>() {
            Ok(n) => format!("a duration needs a unit: \"{n}s\""),
            Err(_) => "write it like \"10s\", \"500ms\", \"5m\" or \"1h 30m\"".to_owned(),
        };
        Mistake::new(format!("{text:?} is not a duration")).fix(fix)
    };
    let duration = humantime::parse_duration(text.trim()).map_err(|_| wrong())?;
    if duration.is_zero() {
        return Err(Mistake::new("a duration must be more than nothing"));
    }
    Ok(duration)
}

fn unitless(n: i64) -> Mistake {
    Mistake::new("a duration needs a unit").fix(format!("write \"{n}s\" for seconds"))
}

/// How long something may take: more than nothing, at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// The longest [`Wait`]: whatever takes longer than a day was meant otherwise.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl FromStr for Wait {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        match duration(text)? {
            long if long > LONGEST_WAIT => {
                Err(Mistake::new(format!("{text:?} is too long")).fix("the longest wait is \"24h\""))
            }
            duration => Ok(Self(duration)),
        }
    }
}

impl Written for Wait {
    const EXPECTED: &'static str = "a duration such as \"10s\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        Err(unitless(n))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["10s", "5m", "1h 30m"] })
    }
}

/// How long a role's session lasts: STS takes 15 minutes to 12 hours (AssumeRole, `DurationSeconds`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub Duration);

impl FromStr for Lifetime {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let duration = duration(text)?;
        if !(Duration::from_secs(15 * 60)..=Duration::from_secs(12 * 60 * 60)).contains(&duration) {
            return Err(Mistake::new(format!("a session of {text:?} is not possible"))
                .fix("STS takes 15 minutes to 12 hours: \"15m\" to \"12h\""));
        }
        Ok(Self(duration))
    }
}

impl Written for Lifetime {
    const EXPECTED: &'static str = "a duration such as \"1h\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        Err(unitless(n))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["1h"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10MiB", 10 << 20),
            ("10MB", 10 << 20),
            ("10 mb", 10 << 20),
            ("1.5MiB", 3 << 19),
            ("1KB", 1024),
            ("1k", 1024),
            ("2GB", 2 << 30),
            ("7", 7),
            ("7B", 7),
            (" 7 B ", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "0", "0MiB", "-1", "-1MiB", "ten", "10XB", "10MiBs", "1e3", "MiB", "0x10", "1,5MB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in
            [("10s", 10_000), ("500ms", 500), ("1h 30m", 5_400_000), ("24h", 86_400_000), (" 1s ", 1000)]
        {
            assert_eq!(text.parse(), Ok(Wait(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "0", "0s", "10", "-1s", "soon", "10 parsecs", "25h", "1000000000000y", "1.5.2s"] {
            assert!(text.parse::<Wait>().is_err(), "{text}");
        }
        assert_eq!("900s".parse(), Ok(Lifetime(Duration::from_secs(900))));
        assert!("899s".parse::<Lifetime>().is_err() && "12h 1s".parse::<Lifetime>().is_err());
    }
}
