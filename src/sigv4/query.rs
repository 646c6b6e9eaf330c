//! The query in the one spelling on which all verifiers agree, and its canonical order.
//!
//! A verifier may sign the query's bytes as they came, or decode them first. Both see the same only if each name and
//! value is already encoded as SigV4 encodes. So that is how a query is sent: the decoded pairs, their number and
//! their order stay as the client wrote them.

use smallvec::SmallVec;

use super::encode::{encode_into, is_unreserved, percent_byte};

/// The query, once decoded, is not UTF-8: verifiers disagree about it whatever its spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query is not UTF-8 once it is decoded")]
pub struct NotUtf8;

/// Appends `query` to `out` in strict spelling: `+` is a space, `a` is `a=`, empty pieces are dropped. A `%` that
/// starts no escape stands for itself.
///
/// # Errors
/// [`NotUtf8`] when a decoded name or value is not UTF-8.
pub fn rewrite_query(query: &str, out: &mut String) -> Result<(), NotUtf8> {
    let mut decoded = Vec::new();
    let mut first = true;
    for piece in pieces(query).filter(|piece| !piece.is_empty()) {
        if !first {
            out.push('&');
        }
        first = false;
        let (name, value) = name_and_value(piece);
        rewrite_part(name, &mut decoded, out)?;
        out.push('=');
        rewrite_part(value, &mut decoded, out)?;
    }
    Ok(())
}

/// What stands between the `&`. Names and values are short: a look at each byte costs less than a search.
pub(crate) fn pieces(query: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        let (piece, more) = cut(rest?, b'&');
        rest = more;
        Some(piece)
    })
}

/// What stands before and after the first `=`.
pub(crate) fn name_and_value(piece: &str) -> (&str, &str) {
    let (name, value) = cut(piece, b'=');
    (name, value.unwrap_or_default())
}

fn cut(text: &str, at: u8) -> (&str, Option<&str>) {
    match text.bytes().position(|byte| byte == at) {
        Some(found) => (&text[..found], Some(&text[found + 1..])),
        None => (text, None),
    }
}

fn rewrite_part(part: &str, decoded: &mut Vec<u8>, out: &mut String) -> Result<(), NotUtf8> {
    if part.bytes().all(is_unreserved) {
        out.push_str(part);
        return Ok(());
    }
    decode_into(part.as_bytes(), decoded);
    std::str::from_utf8(decoded).map_err(|_| NotUtf8)?;
    encode_into(out, decoded);
    Ok(())
}

fn decode_into(part: &[u8], decoded: &mut Vec<u8>) {
    decoded.clear();
    let mut at = 0;
    while at < part.len() {
        let (byte, length) = match part[at] {
            b'+' => (b' ', 1),
            byte => percent_byte(&part[at..]).map_or((byte, 1), |escaped| (escaped, 3)),
        };
        decoded.push(byte);
        at += length;
    }
}

/// Appends a query in strict spelling, sorted by name and then by value, as the canonical request wants it.
pub(super) fn canonical_query_into(out: &mut String, query: &str) {
    if !query.contains('&') {
        out.push_str(query);
        return;
    }
    let mut pairs: SmallVec<[_; 8]> = pieces(query).map(name_and_value).collect();
    if pairs.is_sorted() {
        out.push_str(query);
        return;
    }
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::{NotUtf8, canonical_query_into, rewrite_query};

    fn rewritten(query: &str) -> Result<String, NotUtf8> {
        let mut out = String::new();
        rewrite_query(query, &mut out).map(|()| out)
    }

    #[test]
    fn strict_spelling() {
        for (client, wire) in [
            ("", ""),
            ("a=1&b=2", "a=1&b=2"),
            ("a", "a="),
            ("=", "="),
            ("=v", "=v"),
            ("a=b=c", "a=b%3Dc"),
            ("&&a=1&&", "a=1"),
            ("a=x+y", "a=x%20y"),
            ("a=%2b%2B+", "a=%2B%2B%20"),
            ("%61=%7e", "a=~"),
            ("a[]=1&a[]=2", "a%5B%5D=1&a%5B%5D=2"),
            ("a;b=c", "a%3Bb=c"),
            ("q=%C3%A9", "q=%C3%A9"),
            ("q=é", "q=%C3%A9"),
            ("a=100%", "a=100%25"),
            ("a=%zz%4", "a=%25zz%254"),
            ("a=%2526", "a=%2526"),
            ("z=1&a=2&z=0", "z=1&a=2&z=0"),
        ] {
            assert_eq!(rewritten(client).as_deref(), Ok(wire), "{client}");
        }
    }

    #[test]
    fn a_query_that_is_not_utf8_is_refused() {
        for query in ["a=%FF", "%C3=%A9", "a=%C3&%A9=b", "x=1&%ff"] {
            assert_eq!(rewritten(query), Err(NotUtf8), "{query}");
        }
    }

    #[test]
    fn order_is_by_name_then_value() {
        let mut out = String::new();
        canonical_query_into(&mut out, "b=2&a-=1&a=2&a=1&a=&B=0");
        assert_eq!(out, "B=0&a=&a=1&a=2&a-=1&b=2");
    }
}
