//! Fields that concern one connection and end there (RFC 9110 section 7.6.1), in both directions.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

/// Whether a field of this name never passes a hop.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    match name.as_str().as_bytes() {
        [b'c', ..] => name == header::CONNECTION,
        // Part of an upgrade to HTTP/2, whoever names it in Connection (RFC 7540 section 3.2.1).
        [b'h', ..] => name == "http2-settings",
        [b'k', ..] => name == "keep-alive",
        [b'p', ..] => {
            name == header::PROXY_AUTHENTICATE
                || name == header::PROXY_AUTHORIZATION
                || name == "proxy-authentication-info"
                || name == "proxy-connection"
        }
        [b't', ..] => name == header::TE || name == header::TRAILER || name == header::TRANSFER_ENCODING,
        [b'u', ..] => name == header::UPGRADE,
        _ => false,
    }
}

/// The fields that `Connection` names, valid names only.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    // These two say how long the connection lives and name no field; hardly any value is another.
    let names_none =
        |token: &[u8]| token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close");
    let values = headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    let values = values.filter(|value| !names_none(value));
    let tokens = values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    tokens.filter(|token| !names_none(token)).filter_map(|token| HeaderName::from_bytes(token).ok()).collect()
}

/// Takes them all out.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    let found: SmallVec<[_; 4]> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::remove_hop_by_hop;
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn what_concerns_one_hop_ends_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-one, close"),
            ("connection", "Keep-Alive,,@, X-Two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("proxy-authenticate", "Basic"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("content-type", "text/plain"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-three", "content-type"]);
    }
}
