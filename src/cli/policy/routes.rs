//! What the configuration has signed: its rules, narrowed to what is lent out, as IAM's patterns. Pure.
//!
//! Any method is allowed, unless the rule, `allow` or `read_only` name some. Where two overlap in part, the narrower path
//! is taken. What an earlier rule takes whole is left out, and so is what `deny` denies whole; IAM could hold the rest of
//! `deny` only by denying it to whoever has the policy, which is for them to decide.
//!
//! A variable segment becomes `*`, which for IAM goes on behind the next slash: IAM has nothing narrower.

use std::collections::BTreeSet;

use super::arn::segments;
use crate::config::{LendRule, Stage, is_greedy};

/// The methods that `read_only` lets pass.
const READING: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// All that API Gateway has, for REST and HTTP APIs (API reference: PutMethod; developer guide, "Routes for HTTP APIs").
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// IAM's word for any method.
const ANY: &str = "*";

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
            let Some(path) = Path::new(&rule.path).meet(&signed.path) else { continue };
            for verb in both(&signed.verbs, &verbs(&rule.methods, stage.read_only)) {
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

/// A path whose requests are signed, with these methods.
struct Signed<'a> {
    path: Path<'a>,
    verbs: Vec<&'a str>,
}

/// What is signed, in the order of the rules.
fn signed<'a>(stage: &'a Stage, notes: &mut Vec<String>) -> Vec<Signed<'a>> {
    let mut before: Vec<(Path<'_>, &[String])> = Vec::new();
    let mut signed = Vec::new();
    let named = stage.routes.iter().map(|route| (Path::new(&route.path), &route.methods[..], route.auth));
    let otherwise = (Path::new("/*"), &[][..], stage.default_auth());
    for (at, (path, methods, auth)) in named.chain([otherwise]).enumerate() {
        let verbs = left(methods, before.iter().filter(|(earlier, _)| earlier.covers(&path)));
        if auth.signs() && !verbs.is_empty() {
            if at > 0 && at == stage.routes.len() && stage.allow.is_none() {
                notes.push(format!(
                    "stage {}: what no route names is signed too, so that the policy allows all of it; stage.allow narrows \
                     that, or a last route {{ path = \"/*\", auth = \"none\" }}",
                    stage.name
                ));
            }
            signed.push(Signed { path: path.clone(), verbs });
        }
        before.push((path, methods));
    }
    signed
}

/// The methods that a rule has left when these have taken theirs.
fn left<'a, 'b>(
    methods: &'a [String],
    taken: impl Iterator<Item = &'b (Path<'b>, &'b [String])> + Clone,
) -> Vec<&'a str> {
    if taken.clone().any(|(_, methods)| methods.is_empty()) {
        return Vec::new();
    }
    let is_taken = |verb: &str| taken.clone().any(|(_, methods)| methods.iter().any(|one| one == verb));
    match methods {
        [] if taken.clone().next().is_none() => vec![ANY],
        [] => METHODS.into_iter().filter(|verb| !is_taken(verb)).collect(),
        named => named.iter().map(String::as_str).filter(|verb| !is_taken(verb)).collect(),
    }
}

/// The methods that are among these and among those.
fn both<'a>(these: &[&'a str], those: &[&'a str]) -> Vec<&'a str> {
    match (these, those) {
        ([ANY], verbs) | (verbs, [ANY]) => verbs.to_vec(),
        _ => these.iter().filter(|verb| those.contains(verb)).copied().collect(),
    }
}

fn verbs(methods: &[String], read_only: bool) -> Vec<&str> {
    match (methods, read_only) {
        ([], false) => vec![ANY],
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
            // By method.
            (
                "route = [{ path = \"/a\", methods = [\"POST\", \"PUT\"], auth = \"iam\" }, { path = \"/*\", auth = \"none\" }]",
                &["POST/a", "PUT/a"],
            ),
            (
                "route = [{ path = \"/a\", methods = [\"GET\", \"HEAD\"], auth = \"none\" }, { path = \"/a\", auth = \"iam\" }, { path = \"/*\", auth = \"none\" }]",
                &["DELETE/a", "OPTIONS/a", "PATCH/a", "POST/a", "PUT/a"],
            ),
            (
                "route = [{ path = \"/a/*\", methods = [\"GET\"], auth = \"none\" }, { path = \"/a/b\", methods = [\"GET\", \"POST\"], auth = \"iam\" }, { path = \"/*\", auth = \"none\" }]",
                &["POST/a/b"],
            ),
            (
                "route = [{ path = \"/a\", methods = [\"GET\", \"POST\"], auth = \"iam\" }, { path = \"/*\", auth = \"none\" }]\nallow = [\"GET|PUT /a\"]",
                &["GET/a"],
            ),
            (
                "route = [{ path = \"/a\", methods = [\"GET\", \"POST\"], auth = \"iam\" }, { path = \"/*\", auth = \"none\" }]\nread_only = true",
                &["GET/a"],
            ),
            (
                "route = [{ path = \"/*\", methods = [\"GET\", \"HEAD\", \"OPTIONS\", \"PATCH\"], auth = \"none\" }]",
                &["DELETE/*", "POST/*", "PUT/*"],
            ),
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
