//! The query is sent in the one spelling on which all verifiers agree, and means what the client wrote.

use super::plain::{LONGEST, assert_strict, is_utf8, pairs};
use crate::sigv4::{CanonicalRequest, NotUtf8, PathRules, Request, rewrite_query};

/// `input` is a query.
///
/// # Panics
/// When it is refused without cause, or taken and changed in meaning, not strict, or changed by being written again.
pub fn query(input: &[u8]) {
    let Ok(query) = std::str::from_utf8(input) else { return };
    if query.len() > LONGEST {
        return;
    }
    let meant = pairs(query);
    let mut sent = String::from("kept?");
    let outcome = rewrite_query(query, &mut sent);
    assert_eq!(outcome, if is_utf8(&meant) { Ok(()) } else { Err(NotUtf8) }, "{query:?}");
    let sent = sent.strip_prefix("kept?").unwrap_or_else(|| panic!("{query:?} overwrote what was there"));
    if outcome.is_err() {
        return;
    }
    assert_eq!(pairs(sent), meant, "{query:?} was sent as {sent:?}");
    if !sent.is_empty() {
        assert_strict(sent);
    }
    let mut again = String::new();
    rewrite_query(sent, &mut again).expect("what was written is UTF-8");
    assert_eq!(again, sent, "{query:?}");
    assert_canonical(sent);
}

/// The canonical query is the pairs in order, none of them more or less.
fn assert_canonical(sent: &str) {
    let mut sorted: Vec<(&str, &str)> = sent.split('&').filter_map(|pair| pair.split_once('=')).collect();
    sorted.sort_by(|(a, b), (c, d)| a.as_bytes().cmp(c.as_bytes()).then(b.as_bytes().cmp(d.as_bytes())));
    let sorted: Vec<String> = sorted.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers = http::HeaderMap::new();
    let request = Request { method: "GET", path: "/", query: sent, headers: &headers, payload_hash: "0" };
    let mut canonical = CanonicalRequest::default();
    canonical.build(&request, PathRules::STANDARD, &[]);
    let text = String::from_utf8_lossy(canonical.text());
    assert_eq!(text.split('\n').nth(2), Some(&*sorted.join("&")), "{sent:?}");
}
