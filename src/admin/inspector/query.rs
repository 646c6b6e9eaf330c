//! The query of a request to the API.

/// Names and values, decoded (WHATWG URL, "application/x-www-form-urlencoded parsing").
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
        )
    }

    /// The first value of this name that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let mut found = self.0.iter().filter(|(one, value)| one == name && !value.is_empty());
        found.next().map(|(_, value)| value.clone())
    }

    /// The number of this name.
    pub(super) fn number(&self, name: &str, otherwise: u64) -> Result<u64, std::num::ParseIntError> {
        self.get(name).map_or(Ok(otherwise), |text| text.parse())
    }
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        out.push(match (first, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
                digit(*high) << 4 | digit(*low)
            }
            _ => *first,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Of what is a hexadecimal digit.
fn digit(byte: u8) -> u8 {
    char::from(byte).to_digit(16).map_or(0, |digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn names_and_values() {
        let query = Query::of(Some("text=a%20b+c%2&text=d&empty=&limit=7&odd&x=%C3%A4%ff"));
        assert_eq!(query.get("text").as_deref(), Some("a b c%2"));
        assert_eq!(query.get("x").as_deref(), Some("ä\u{fffd}"));
        assert_eq!((query.get("empty"), query.get("odd"), query.get("none")), (None, None, None));
        assert_eq!(query.number("limit", 1), Ok(7));
        assert_eq!(query.number("after", 1), Ok(1));
        assert!(query.number("text", 1).is_err());
        assert!(Query::of(None).get("a").is_none());
    }
}
