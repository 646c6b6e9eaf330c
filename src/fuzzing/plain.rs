//! Reading done the plain way, to hold the product's against: nothing here is shared with it.

/// Longer inputs are left out: some of what is done here takes quadratic time.
pub(super) const LONGEST: usize = 4096;

/// One round of percent-decoding; what is no escape stays.
pub(super) fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match after {
            [high, low, after @ ..]
                if *first == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digits = [char::from(*high), char::from(*low)].iter().collect::<String>();
                out.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits are a byte"));
                after
            }
            after => {
                out.push(*first);
                after
            }
        };
    }
    out
}

/// The names and values of a query as a form means them: `+` is a space, a missing value is empty.
pub(super) fn pairs(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let part = |text: &str| decoded(text.replace('+', " ").as_bytes());
    let mut all = Vec::new();
    for piece in query.split('&') {
        if piece.is_empty() {
            continue;
        }
        let name = piece.chars().take_while(|c| *c != '=').collect::<String>();
        let value = piece.get(name.len() + 1..).unwrap_or_default();
        all.push((part(&name), part(value)));
    }
    all
}

/// Whether every name and value is UTF-8.
pub(super) fn is_utf8(pairs: &[(Vec<u8>, Vec<u8>)]) -> bool {
    pairs.iter().all(|(name, value)| {
        String::from_utf8(name.clone()).is_ok() && String::from_utf8(value.clone()).is_ok()
    })
}

/// RFC 3986, 2.3: what is never encoded.
pub(super) const UNRESERVED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

/// Every byte but the unreserved ones as `%XX`.
pub(super) fn encoded(bytes: &[u8]) -> String {
    let one = |byte: &u8| match UNRESERVED.contains(char::from(*byte)) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

/// Fails unless a query is in the one strict spelling: each pair with its `=`, each byte unreserved or a `%XX` that has
/// to be one.
pub(super) fn assert_strict(query: &str) {
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{pair:?} has no = in {query:?}"));
        for part in [name, value] {
            assert_eq!(part, encoded(&decoded(part.as_bytes())), "not strict: {query:?}");
        }
    }
}
