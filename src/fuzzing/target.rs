//! The request target: what it names, where it goes, and which rules it meets.

use std::sync::OnceLock;

use http::{HeaderMap, Uri, uri::PathAndQuery};

use super::plain::{LONGEST, assert_strict, decoded, encoded, is_utf8, pairs};
use crate::{
    config::{StageUrl, is_greedy},
    proxy::decisions::{Pattern, below_mount, decode, forwarded_target, has_dot_segment, segments},
    sigv4::{CanonicalRequest, PathRules, Request},
};

/// `input` has four lines: the target as the client sends it, the mount, the path of the stage's URL, and the path of a
/// rule.
///
/// # Panics
/// When a dot segment is overlooked or seen where none is, when anything but the query's spelling changes on the way, or
/// when another spelling of the path meets another rule.
pub fn target(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if text.len() > LONGEST {
        return;
    }
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let Ok(uri) = line().parse::<Uri>() else { return };
    let (mount, stage, rule) = (line(), line(), line());
    let path = uri.path();
    if !path.starts_with('/') {
        return;
    }
    assert_eq!(has_dot_segment(path), shows_dot_segment(path.as_bytes()), "{path:?}");
    if has_dot_segment(path) {
        return;
    }

    let mount: Vec<Vec<u8>> = segments(mount).map(|segment| decode(segment.as_bytes())).collect();
    let meant = meant_segments(path);
    let below = below_mount(path, &mount);
    assert_eq!(below.is_some(), meant.starts_with(&mount), "{path:?} below {mount:?}");
    let Some(below) = below else { return };
    let (above, rest) = path.split_at(below);
    assert_eq!(meant_segments(above), mount, "{path:?}");
    assert!(rest.is_empty() || rest.starts_with('/'), "{path:?} below {mount:?}");

    let stage = match format!("https://a.example{stage}").parse::<StageUrl>() {
        Ok(url) if url.host == "a.example" => url.path,
        _ => String::new(),
    };
    assert_rules(rest, rule);
    assert_forwarded(&uri, &stage, below);
}

/// Decoded once, twice, and so on until nothing changes, is there ever a segment that some server could read as a dot
/// segment? A parameter ends its name, and so does a NUL.
fn shows_dot_segment(path: &[u8]) -> bool {
    let text = loosely(path);
    let mut names = text.split(|byte| b"/\\".contains(byte)).map(|segment| {
        let end = segment.iter().position(|byte| b";\0".contains(byte));
        &segment[..end.unwrap_or(segment.len())]
    });
    if names.any(|name| [&b"."[..], b".."].contains(&name)) {
        return true;
    }
    let next = decoded(path);
    next != path && shows_dot_segment(&next)
}

/// As ASCII what some server could read as that: every such spelling is replaced.
fn loosely(text: &[u8]) -> Vec<u8> {
    static SPELLINGS: OnceLock<Vec<(Vec<u8>, &str)>> = OnceLock::new();
    let spellings = SPELLINGS.get_or_init(spellings);
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let spelt = |spelling: &[u8]| {
            rest.get(..spelling.len()).is_some_and(|text| text.eq_ignore_ascii_case(spelling))
        };
        // Nothing else begins one.
        let begins = *first == b'%' || *first >= 0xc0;
        if let Some((spelling, meant)) = spellings.iter().find(|(spelling, _)| begins && spelt(spelling)) {
            out.extend_from_slice(meant.as_bytes());
            rest = &rest[spelling.len()..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

/// Dots, slashes and semicolons, and what Unicode's compatibility forms make such; each as IIS escapes it, and as UTF-8
/// of two, three and four bytes, were fewer enough or not.
fn spellings() -> Vec<(Vec<u8>, &'static str)> {
    let meant: [(&str, &[char]); 5] = [
        (".", &['.', '\u{2024}', '\u{fe52}', '\u{ff0e}']),
        ("..", &['\u{2025}']),
        ("/", &['/', '\u{ff0f}']),
        ("\\", &['\\', '\u{ff3c}', '\u{fe68}']),
        (";", &[';', '\u{ff1b}', '\u{fe54}']),
    ];
    let mut all = Vec::new();
    for (meant, written) in meant {
        for code in written.iter().copied().map(u32::from) {
            all.push((format!("%u{code:04x}").into_bytes(), meant));
            let tail = |sixes: u32| (code >> (6 * sixes) & 0x3f) as u8 | 0x80;
            if code < 0x800 {
                all.push((vec![0xc0 | (code >> 6) as u8, tail(0)], meant));
            }
            all.push((vec![0xe0 | (code >> 12) as u8, tail(1), tail(0)], meant));
            all.push((vec![0xf0, tail(2), tail(1), tail(0)], meant));
        }
    }
    all
}

/// The path as the gateway reads it.
fn meant_segments(path: &str) -> Vec<Vec<u8>> {
    path.split('/').filter(|segment| !segment.is_empty()).map(|segment| decoded(segment.as_bytes())).collect()
}

fn assert_forwarded(uri: &Uri, stage: &str, below: usize) {
    let is_presigned = |name: &[u8]| {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let after = name.strip_prefix("x-amz-").unwrap_or_default();
        ["algorithm", "credential", "date", "expires", "security-token", "signature", "signedheaders"]
            .contains(&after)
    };
    let mut meant = pairs(uri.query().unwrap_or_default());
    let sent = match forwarded_target(uri, stage, below) {
        Ok(sent) => sent,
        Err(refusal) => {
            assert!(!is_utf8(&meant), "{uri} was refused: {}", refusal.message());
            return;
        }
    };
    meant.retain(|(name, _)| !is_presigned(name));
    assert!(is_utf8(&meant), "{uri} was sent as {sent}");

    let path = format!("{stage}{}", &uri.path()[below..]);
    assert_eq!(sent.path(), if path.is_empty() { "/" } else { &path }, "{uri}");
    let query = sent.query().unwrap_or_default();
    assert_eq!(pairs(query), meant, "{uri} was sent as {sent}");
    match sent.query() {
        Some(query) => assert_strict(query),
        None => assert!(!sent.as_str().contains('?'), "{sent}"),
    }
    assert_eq!(sent.as_str().parse::<PathAndQuery>().ok().as_ref(), Some(&sent), "it reads otherwise");
    let again = forwarded_target(&Uri::from(sent.clone()), "", 0);
    assert_eq!(again.ok().as_ref(), Some(&sent), "sent on once more it is another");

    let canonical = canonical_uri(sent.path());
    let mut expected: String =
        meant_bytes(sent.path()).iter().map(|segment| format!("/{}", encoded(segment))).collect();
    if expected.is_empty() || sent.path().ends_with('/') {
        expected.push('/');
    }
    // A stage's own path may hold what is a dot segment only to a reader of the canonical URI's kind.
    if !shows_dot_segment(sent.path().as_bytes()) {
        assert_eq!(canonical, expected, "{sent}");
        assert_eq!(
            canonical_uri(&canonical),
            canonical.replace('%', "%25"),
            "it is normalised once and for all"
        );
    }
}

/// The segments as they are spelt.
fn meant_bytes(path: &str) -> Vec<Vec<u8>> {
    path.split('/').filter(|segment| !segment.is_empty()).map(|segment| segment.as_bytes().to_vec()).collect()
}

fn canonical_uri(path: &str) -> String {
    let headers = HeaderMap::new();
    let request = Request { method: "GET", path, query: "", headers: &headers, payload_hash: "0" };
    let mut canonical = CanonicalRequest::default();
    canonical.build(&request, PathRules::STANDARD, &[]);
    let text = String::from_utf8_lossy(canonical.text()).into_owned();
    text.split('\n').nth(1).unwrap_or_default().to_owned()
}

/// A rule matches what it says, and every spelling of a path alike.
fn assert_rules(path: &str, rule: &str) {
    let pattern = Pattern::new(rule);
    let matches = pattern.matches(path);
    assert_eq!(matches, rule_matches(rule, path), "{rule:?} and {path:?}");
    let whole: String = meant_segments(path)
        .iter()
        .map(|segment| {
            let bytes: String = segment.iter().map(|byte| format!("%{byte:02x}")).collect();
            format!("//{bytes}/")
        })
        .collect();
    assert_eq!(pattern.matches(&whole), matches, "{rule:?}: {whole:?} is {path:?} in another spelling");
}

fn rule_matches(rule: &str, path: &str) -> bool {
    let mut wanted: Vec<&str> = rule.split('/').filter(|segment| !segment.is_empty()).collect();
    let found = meant_segments(path);
    let below = wanted.last().is_some_and(|last| is_greedy(last));
    if below {
        wanted.pop();
    }
    let enough = match below {
        true => wanted.is_empty() || found.len() > wanted.len(),
        false => found.len() == wanted.len(),
    };
    enough && wanted.iter().zip(&found).all(|(wanted, found)| segment_matches(wanted, found))
}

/// A star is any text; which texts are left after each part of the pattern is written down, part by part.
fn segment_matches(wanted: &str, found: &[u8]) -> bool {
    if wanted.starts_with('{') && wanted.ends_with('}') {
        return true;
    }
    let mut ends = vec![0];
    for (number, part) in wanted.split('*').enumerate() {
        let part = decoded(part.as_bytes());
        let starts: Vec<usize> = match (number, ends.iter().min()) {
            (0, _) => ends,
            (_, Some(&first)) => (first..=found.len()).collect(),
            (_, None) => return false,
        };
        ends = starts
            .into_iter()
            .filter(|at| found[*at..].starts_with(&part))
            .map(|at| at + part.len())
            .collect();
    }
    ends.contains(&found.len())
}
