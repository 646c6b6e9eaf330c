//! The target in the spelling that is sent: the stage's path before it, the query as SigV4 encodes, and nothing in it of a
//! presigned URL.
//!
//! Refused (400) is a query that is not UTF-8 once decoded, and a target that is too long.

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::refusal::{Code, Refusal};
use crate::sigv4::{NotUtf8, rewrite_query};

/// The longest path and query that the crate `http` takes.
const LONGEST_TARGET: usize = u16::MAX as usize - 1;

/// The stage's path and the path below the mount, its bytes as the client sent them, and the query in strict spelling.
pub(crate) fn forwarded_target(
    uri: &http::Uri,
    stage_path: &str,
    below: usize,
) -> Result<PathAndQuery, Refusal> {
    let rest = &uri.path()[below..];
    let query = uri.query().unwrap_or_default();
    let mut target = String::with_capacity(stage_path.len() + rest.len() + query.len() + 16);
    target.push_str(stage_path);
    target.push_str(rest);
    if target.is_empty() {
        target.push('/');
    }
    if !query.is_empty() {
        target.push('?');
        let start = target.len();
        rewrite_query(query, &mut target).map_err(|NotUtf8| Refusal::from(Code::QueryNotUtf8))?;
        remove_presign_parameters(&mut target, start);
        if target.len() == start {
            target.pop();
        }
    }
    let length = target.len();
    PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| match length {
        0..=LONGEST_TARGET => Code::BadTarget.into(),
        _ => Refusal::because(
            Code::BadTarget,
            format!("The request target is too long: {length} bytes once its query is encoded."),
        )
        .with_hint("Put less into the query. API Gateway takes 10,240 bytes of request line and headers."),
    })
}

const PRESIGN: &[&str] = &[
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Takes a presigned URL's parameters out of the query that begins at `start`: a signature that is not ours.
fn remove_presign_parameters(target: &mut String, start: usize) {
    let is_presign = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        PRESIGN.iter().any(|owned| name.eq_ignore_ascii_case(owned))
    };
    let may_be = |pair: &[u8]| pair[0].eq_ignore_ascii_case(&b'x') && pair[1] == b'-';
    if target.as_bytes()[start..].windows(2).any(may_be)
        && target[start..].split('&').any(|pair| is_presign(&pair))
    {
        let kept: Vec<_> = target[start..].split('&').filter(|pair| !is_presign(pair)).collect();
        let kept = kept.join("&");
        target.truncate(start);
        target.push_str(&kept);
    }
}

#[cfg(test)]
mod tests {
    use super::forwarded_target;
    use crate::proxy::refusal::Code;

    #[test]
    fn targets() {
        for (target, stage, below, sent) in [
            ("/a?x=1", "/prod", 0, "/prod/a?x=1"),
            ("/", "/prod", 0, "/prod/"),
            ("/orders", "/prod", 7, "/prod"),
            ("/orders", "", 7, "/"),
            ("/orders?a", "", 7, "/?a="),
            ("//a//b%2F/", "", 0, "//a//b%2F/"),
            ("/a?", "", 0, "/a"),
            ("/a?&&", "", 0, "/a"),
            ("/a?b=+&c=%2b", "", 0, "/a?b=%20&c=%2B"),
            ("/a?X-Amz-Signature=0&b=1&x%2Damz-date=2&X-Amz-Target=3", "", 0, "/a?b=1&X-Amz-Target=3"),
            ("/a?X-Amz-Signature=0", "", 0, "/a"),
        ] {
            let uri = target.parse().unwrap();
            assert_eq!(forwarded_target(&uri, stage, below).unwrap().as_str(), sent, "{target}");
        }
        let refused = forwarded_target(&"/a?b=%FF".parse().unwrap(), "", 0).unwrap_err();
        assert_eq!(refused.code, Code::QueryNotUtf8);
        let long = format!("/a?b={}", "[".repeat(30_000));
        let refused = forwarded_target(&long.parse().unwrap(), "", 0).unwrap_err();
        assert_eq!(refused.code, Code::BadTarget);
        assert!(refused.message().contains("too long: 90005 bytes"), "{}", refused.message());
    }
}
