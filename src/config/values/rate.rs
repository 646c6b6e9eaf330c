//! How often, and how long to wait for one's turn.

use std::{str::FromStr, time::Duration};

use schemars::{Schema, json_schema};

use super::{Wait, Written};
use crate::config::error::Mistake;

/// So many requests in a time: `10/s`, `100/m`, `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least one, at most a million.
    pub requests: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

/// Beyond this no stage is reached anyway.
const MOST: u32 = 1_000_000;

impl FromStr for Rate {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = || {
            Mistake::new(format!("{text:?} is not a rate"))
                .fix("write a number of requests and s, m or h: \"10/s\", \"100/m\", \"1000/h\"")
        };
        let (requests, per) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match per.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            _ => return Err(wrong()),
        };
        let requests = requests.trim().parse().ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(wrong)?;
        Ok(Self { requests, per: Duration::from_secs(seconds) })
    }
}

impl Written for Rate {
    const EXPECTED: &'static str = "a rate such as \"10/s\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        Err(Mistake::new("a rate needs a time").fix(format!("write \"{n}/s\" for so many a second")))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["10/s", "100/m", "1000/h"] })
    }
}

/// How long something may wait for its turn: at most a day, and nothing at all (`0s`) too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnWait(pub Duration);

impl FromStr for TurnWait {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        match humantime::parse_duration(text.trim()) {
            Ok(Duration::ZERO) if text.trim() != "0" => Ok(Self(Duration::ZERO)),
            _ => text.parse().map(|Wait(wait)| Self(wait)),
        }
    }
}

impl Written for TurnWait {
    const EXPECTED: &'static str = "a duration such as \"1s\", or \"0s\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        Wait::from_integer(n).map(|Wait(wait)| Self(wait))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["1s", "500ms", "0s"] })
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Rate, TurnWait, Written as _};

    #[test]
    fn rates() {
        for (text, requests, seconds) in
            [("10/s", 10, 1), ("1/h", 1, 3600), (" 90 / m", 90, 60), ("1000000/s", 1_000_000, 1)]
        {
            let rate = Rate { requests, per: Duration::from_secs(seconds) };
            assert_eq!(text.parse(), Ok(rate), "{text}");
        }
        for text in ["", "10", "/s", "0/s", "-1/s", "1.5/s", "10/d", "10/2s", "10/s/s", "1000001/s", "ten/s"]
        {
            let mistake = text.parse::<Rate>().expect_err(text);
            assert!(mistake.fix.is_some_and(|fix| fix.contains("10/s")), "{text}");
        }
        assert!(
            Rate::from_integer(5).is_err_and(|mistake| mistake.fix.is_some_and(|fix| fix.contains("5/s")))
        );
    }

    #[test]
    fn waits_for_a_turn() {
        for (text, millis) in [("0s", 0), ("0ms", 0), ("500ms", 500), ("24h", 86_400_000)] {
            assert_eq!(text.parse(), Ok(TurnWait(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "0", "1", "-1s", "25h", "soon"] {
            assert!(text.parse::<TurnWait>().is_err(), "{text}");
        }
        assert!(TurnWait::from_integer(0).is_err());
    }
}
