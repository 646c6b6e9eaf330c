//! What the configuration has signed: its rules, narrowed to what is lent out, as IAM's patterns. Pure.
//!
//! A rule says nothing of methods, so any is allowed, unless `allow` or `read_only` name them. Where the two overlap in
//! part, the narrower path is taken. What an earlier rule takes whole is left out, and so is what `deny` denies whole;
//! IAM could hold the rest of `deny` only by denying it to whoever has the policy, which is for them to decide.
//!
//! A variable segment becomes `*`, which for IAM goes on behind the next slash: IAM has nothing narrower.

use std::collections::BTreeSet;

use super::arn::segments;
use crate::config::{LendRule, Stage, is_greedy};

/// The methods that `read_only` lets pass.
const READING: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// A path's segments, and whether more follow: at least one, unless there is no segment at all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path<'a> {
    segments: Vec<&'a str>,
    below: bool,
}

impl<'a> Path<'a> {
    fn new(text: &'a str) -> Self {
        let mut segments: Vec<_> = segments(text).collect();
        let below = segments.last().is_some_and(|last| is_greedy(last));
        if below {
            segments.pop();
        }
        Self { segments, below }
    }

    fn is_everything(&self) -> bool {
        self.below && self.segments.is_empty()
    }

    /// What both match: never less, and in one case more, which is two patterns within one segment.
    fn meet(&self, other: &Self) -> Option<Self> {
        if self.is_everything() {
            return Some(other.clone());
        }
        if other.is_everything() {
            return Some(self.clone());
        }
        let (short, long) =
            if self.segments.len() <= other.segments.len() { (self, other) } else { (other, self) };
        let common = short.segments.len();
        let same_length = common == long.segments.len();
        // What is longer has to lie below what is shorter; of one length, both lie below or neither.
        if !same_length && !short.below || same_length && short.below != long.below {
            return None;
        }
        let mut met = Vec::new();
        for (a, b) in self.segments.iter().zip(&other.segments) {
            met.push(meet_segment(a, b)?);
        }
        met.extend_from_slice(&long.segments[common..]);
        Some(Self { segments: met, below: long.below })
    }

    fn covers(&self, other: &Self) -> bool {
        self.meet(other).is_some_and(|met| met == *other)
    }

    /// As IAM's pattern, after the verb and its slash.
    fn pattern(&self) -> String {
        let shown =
            self.segments.iter().map(|segment| pattern(segment)).chain(self.below.then(|| "*".to_owned()));
        shown.collect::<Vec<_>>().join("/")
    }
}

fn is_variable(segment: &str) -> bool {
    segment == "*" || (segment.starts_with('{') && segment.ends_with('}'))
}

fn meet_segment<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    match (is_variable(a) || a == b, is_variable(b)) {
        (true, _) => Some(b),
        (_, true) => Some(a),
        _ if matches(a, b) => Some(b),
        _ if matches(b, a) => Some(a),
        // `a*` and `*b`: what both match has no pattern of its own.
        _ if a.contains('*') && b.contains('*') => Some(a),
        _ => None,
    }
}

/// Whether a segment with stars matches a text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
}

/// A rule's segment as IAM's pattern. An escape may reach IAM in either spelling, so that it becomes a star too.
fn pattern(segment: &str) -> String {
    if is_variable(segment) {
        return "*".to_owned();
    }
    let mut parts = segment.split('%');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push('*');
        shown.push_str(part.get(2..).unwrap_or_default());
    }
    literal_dollars(&shown)
}

/// A dollar may begin a variable in a policy, and `${$}` never does (IAM user guide, "Policy elements: Variables and tags").
fn literal_dollars(text: &str) -> String {
    text.replace('$', "${$}")
}

/// The `VERB/path` of all that is signed for a stage.
pub(in crate::cli) fn of(stage: &Stage, notes: &mut Vec<String>) -> BTreeSet<String> {
    let everything = LendRule { methods: Vec::new(), path: "/*".to_owned() };
    let lent = stage.allow.clone().unwrap_or_else(|| vec![everything]);
    let mut what = BTreeSet::new();
    for signed in signed(stage, notes) {
        for rule in &lent {
            let Some(path) = Path::new(&rule.path).meet(&signed) else { continue };
            for verb in verbs(&rule.methods, stage.read_only) {
                if !is_denied(&stage.deny, verb, &path) {
                    what.insert(format!("{verb}/{}", path.pattern()));
                }
            }
        }
    }
    if !stage.deny.is_empty() {
        notes.push(format!(
            "stage {}: what deny names is held back by the proxy alone, where the policy allows more around it",
            stage.name
        ));
    }
    without_covered(what)
}

/// The paths that are signed, in the order of the rules.
fn signed<'a>(stage: &'a Stage, notes: &mut Vec<String>) -> Vec<Path<'a>> {
    let mut before: Vec<Path<'_>> = Vec::new();
    let mut signed = Vec::new();
    for route in &stage.routes {
        let path = Path::new(&route.path);
        if !before.iter().any(|earlier| earlier.covers(&path)) && route.auth.signs() {
            signed.push(path.clone());
        }
        before.push(path);
    }
    if !before.iter().any(Path::is_everything) {
        if !stage.routes.is_empty() && stage.allow.is_none() {
            notes.push(format!(
                "stage {}: what no route names is signed too, so that the policy allows all of it; stage.allow narrows that, \
                 or a last route {{ path = \"/*\", auth = \"none\" }}",
                stage.name
            ));
        }
        signed.push(Path::new("/*"));
    }
    signed
}

fn verbs(methods: &[String], read_only: bool) -> Vec<&str> {
    match (methods, read_only) {
        ([], false) => vec!["*"],
        ([], true) => READING.to_vec(),
        (named, false) => named.iter().map(String::as_str).collect(),
        (named, true) => named.iter().map(String::as_str).filter(|one| READING.contains(one)).collect(),
    }
}

fn is_denied(deny: &[LendRule], verb: &str, path: &Path<'_>) -> bool {
    deny.iter().any(|rule| {
        let method = rule.methods.is_empty() || rule.methods.iter().any(|one| one == verb);
        method && Path::new(&rule.path).covers(path)
    })
}

/// Without what another one allows as well.
pub(super) fn without_covered(what: BTreeSet<String>) -> BTreeSet<String> {
    let plain = |text: &str| !text.contains("${");
    let is_covered = |one: &String| {
        what.iter().any(|other| other != one && plain(other) && plain(one) && matches(other, one))
    };
    what.iter().filter(|one| !is_covered(one)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::{Path, of};
    use crate::cli::policy::loaded;

    #[test]
    fn what_two_patterns_share() {
        for (a, b, met) in [
            ("/*", "/a/b", Some("/a/b")),
            ("/a/{id}", "/a/b", Some("/a/b")),
            ("/a/{id}", "/a/*", Some("/a/*")),
            ("/a/*", "/a/b/{c}/d", Some("/a/b/{c}/d")),
            ("/a/*", "/a/b/*", Some("/a/b/*")),
            ("/a/{x+}", "/a", None),
            ("/a", "/b", None),
            ("/a/b", "/a", None),
            ("/a/b*", "/a/bc", Some("/a/bc")),
            ("/a/b*", "/a/c", None),
            ("/{x}/b", "/a/{y}", Some("/a/b")),
            ("/", "/*", Some("/")),
        ] {
            let (left, right) = (Path::new(a), Path::new(b));
            let expected = met.map(Path::new);
            assert_eq!(
                left.meet(&right).map(|met| met.pattern()),
                expected.map(|met| met.pattern()),
                "{a} {b}"
            );
        }
        assert_eq!(Path::new("/a/{id}").meet(&Path::new("/a/*")).unwrap().pattern(), "a/*");
        assert!(
            Path::new("/a/*").covers(&Path::new("/a/b")) && !Path::new("/a/b").covers(&Path::new("/a/*"))
        );
        assert!(!Path::new("/a/*").covers(&Path::new("/a")));
    }

    #[test]
    fn what_a_configuration_has_signed() {
        for (more, expected) in [
            ("", &["*/*"][..]),
            ("read_only = true", &["GET/*", "HEAD/*", "OPTIONS/*"]),
            ("allow = [\"GET|POST /orders\", \"* /a/{id}/b\"]", &["*/a/*/b", "GET/orders", "POST/orders"]),
            ("allow = [\"GET /a\", \"* /b\"]\nread_only = true", &["GET/a", "GET/b", "HEAD/b", "OPTIONS/b"]),
            ("allow = [\"GET /a\", \"GET /b\"]\ndeny = [\"* /b\"]", &["GET/a"]),
            ("allow = [\"GET /a%20b/c\"]", &["GET/a*b/c"]),
            (
                "route = [{ path = \"/free\", auth = \"none\" }, { path = \"/a\", auth = \"iam\" }, { path = \"/*\", auth = \"none\" }]",
                &["*/a"],
            ),
            // Taken whole by the one before it.
            (
                "route = [{ path = \"/a/*\", auth = \"none\" }, { path = \"/a/b\", auth = \"iam\" }, { path = \"/c\", auth = \"iam\" }, { path = \"/*\", auth = \"none\" }]",
                &["*/c"],
            ),
            (
                "route = [{ path = \"/a/*\", auth = \"iam\" }, { path = \"/*\", auth = \"none\" }]\nallow = [\"GET /a/b\", \"GET /c\"]",
                &["GET/a/b"],
            ),
            ("route = [{ path = \"/*\", auth = \"none\" }]", &[]),
        ] {
            let text = format!(
                "[[stage]]\nurl = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"\n{more}\n"
            );
            let config = loaded(&text);
            let found: Vec<_> = of(&config.stages[0], &mut Vec::new()).into_iter().collect();
            assert_eq!(found, expected, "{more}");
        }
    }
}
