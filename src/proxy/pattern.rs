//! Path patterns of rules.
//!
//! A pattern is matched segment by segment against the path as the gateway reads it: empty segments dropped, each
//! segment percent-decoded once, so that no spelling of a path dodges a rule. Within a segment `*` stands for any
//! text. `{name}` is any one segment, as in API Gateway's resources; `{name+}`, or `*` or `**` as the last segment of
//! several, is everything below. Alone, as in `/*`, they are everything, the root too.

use super::target::{decode, segments};
use crate::config::is_greedy;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    segments: Vec<Segment>,
    /// Whether anything may follow: at least one segment, unless the pattern is nothing else.
    below: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Vec<u8>),
    Any,
    /// The texts between the stars.
    Stars(Vec<Vec<u8>>),
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
        let mut written: Vec<&str> = segments(pattern).collect();
        let below = written.last().is_some_and(|last| is_greedy(last));
        if below {
            written.pop();
        }
        Self { segments: written.into_iter().map(Segment::new).collect(), below }
    }

    /// Whether it matches a path that begins below the mount.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.matches_each(segments(path), Segment::matches)
    }

    /// Whether it matches a path that was taken apart and decoded before.
    pub(super) fn matches_read<'a>(&self, found: impl Iterator<Item = &'a [u8]>) -> bool {
        self.matches_each(found, Segment::matches_decoded)
    }

    fn matches_each<S>(&self, mut found: impl Iterator<Item = S>, is: impl Fn(&Segment, S) -> bool) -> bool {
        if self.is_everything() {
            return true;
        }
        for expected in &self.segments {
            if !found.next().is_some_and(|segment| is(expected, segment)) {
                return false;
            }
        }
        found.next().is_some() == self.below
    }

    /// Whether it matches every path.
    pub(super) fn is_everything(&self) -> bool {
        self.below && self.segments.is_empty()
    }

    /// The same with each byte of its texts replaced.
    pub(super) fn map_bytes(mut self, replace: impl Fn(u8) -> u8) -> Self {
        for segment in &mut self.segments {
            let texts = match segment {
                Segment::Literal(text) => std::slice::from_mut(text),
                Segment::Stars(texts) => texts,
                Segment::Any => &mut [],
            };
            texts.iter_mut().flatten().for_each(|byte| *byte = replace(*byte));
        }
        self
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        if text == "*" || (text.starts_with('{') && text.ends_with('}')) {
            return Self::Any;
        }
        let mut parts: Vec<_> = text.split('*').map(|part| decode(part.as_bytes())).collect();
        if parts.len() == 1 { Self::Literal(parts.remove(0)) } else { Self::Stars(parts) }
    }

    fn matches(&self, segment: &str) -> bool {
        if segment.contains('%') {
            self.matches_decoded(&decode(segment.as_bytes()))
        } else {
            self.matches_decoded(segment.as_bytes())
        }
    }

    fn matches_decoded(&self, segment: &[u8]) -> bool {
        match self {
            Self::Literal(text) => segment == text,
            Self::Any => true,
            Self::Stars(parts) => matches_stars(parts, segment),
        }
    }
}

/// The first part starts the text, the last one ends it, those between follow each other.
fn matches_stars(parts: &[Vec<u8>], text: &[u8]) -> bool {
    let [first, between @ .., last] = parts else { return false };
    let Some(mut rest) = text.strip_prefix(&first[..]).and_then(|rest| rest.strip_suffix(&last[..])) else {
        return false;
    };
    for part in between {
        match memchr::memmem::find(rest, part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns() {
        for (pattern, path, matches) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/b/", true),
            ("/a/b", "//a///b", true),
            ("/a/b", "/%61/%62", true),
            ("/a/b", "/a/b/c", false),
            ("/a/b", "/a", false),
            ("/a/b", "/a/B", false),
            ("/a/b", "/a%2Fb", false),
            ("/", "/", true),
            ("/", "", true),
            ("/", "/a", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/a", false),
            ("/a/*", "/a/", false),
            ("/*", "/anything/at/all", true),
            ("/*", "/", true),
            ("/**", "", true),
            ("/{proxy+}", "/", true),
            ("/a/**", "/a/b/c", true),
            ("/a/{proxy+}", "/a/b/c", true),
            ("/a/{id}", "/a/7", true),
            ("/a/{id}", "/a/7/8", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/b/b/c", false),
            ("/a/v*-x*z", "/a/v1-x2z", true),
            ("/a/v*-x*z", "/a/v1-y2z", false),
            ("/a/*.json/c", "/a/b.json/c", true),
            ("/a/a*a/c", "/a/a/c", false),
            ("/a*b*b*c", "/abc", false),
            ("/a*b*b*c", "/abxbc", true),
            ("/a%20b", "/a%20b", true),
            ("/a%20b", "/a b", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(path), matches, "{pattern} {path}");
        }
    }
}
