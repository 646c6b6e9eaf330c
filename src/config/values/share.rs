//! A part of a whole.

use std::str::FromStr;

use schemars::{Schema, json_schema};

use super::Written;
use crate::config::error::Mistake;

/// A part of a whole, 0 to 1: `0.1`, `10%`, `1/10`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

fn within(share: f64, text: &str) -> Result<Share, Mistake> {
    if (0.0..=1.0).contains(&share) {
        return Ok(Share(share));
    }
    Err(Mistake::new(format!("{text} is no share"))
        .fix("write a number from 0 to 1: 0.1, \"10%\" or \"1/10\""))
}

impl FromStr for Share {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let text = text.trim();
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let share = match (text.strip_suffix('%'), text.split_once('/')) {
            (Some(percent), _) => number(percent).map(|percent| percent / 100.0),
            (None, Some((part, whole))) => number(part).zip(number(whole)).map(|(part, whole)| part / whole),
            (None, None) => number(text),
        };
        within(share.unwrap_or(f64::NAN), &format!("{text:?}"))
    }
}

impl Written for Share {
    const EXPECTED: &'static str = "a share such as 0.1, \"10%\" or \"1/10\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        within(n as f64, &n.to_string())
    }

    fn from_float(n: f64) -> Result<Self, Mistake> {
        within(n, &n.to_string())
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["number", "string"], "minimum": 0, "maximum": 1, "examples": [0.1, "10%", "1/10"] })
    }
}

#[cfg(test)]
mod tests {
    use super::{Share, Written as _};

    #[test]
    fn shares() {
        for (text, share) in [
            ("0", 0.0),
            ("1", 1.0),
            ("0.1", 0.1),
            ("10%", 0.1),
            (" 12.5 % ", 0.125),
            ("1/10", 0.1),
            ("1 / 4", 0.25),
            ("100%", 1.0),
        ] {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
        }
        assert_eq!((Share::from_integer(1), Share::from_float(0.5)), (Ok(Share(1.0)), Ok(Share(0.5))));
        for text in ["", "2", "-0.1", "101%", "1/0", "0/0", "nan", "inf", "tenth", "1/10%", "/"] {
            let mistake = text.parse::<Share>().expect_err(text);
            assert!(mistake.fix.is_some_and(|fix| fix.contains("0.1")), "{text}");
        }
        assert!(Share::from_integer(10).is_err() && Share::from_float(f64::NAN).is_err());
    }
}
