//! What was called, by lines of log: of a file, as JSON, or as a terminal showed them.
//!
//! Only what was signed and let in counts. What the gateway refused (401, 403) is what somebody tried, and is told, not
//! allowed. A path becomes the rule's own where a rule with variables names it; any other stands as it was called, and
//! nothing in it is a pattern to IAM, whatever a client wrote there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    arn::{SERVICE, segments},
    routes::without_covered,
};
use crate::{
    cli::asked::below,
    config::{Config, Stage, is_greedy},
    diagnosis::literal,
    proxy,
};

/// So many paths that differ in one segment look like a variable.
const MANY: usize = 5;

/// The target of lines about requests.
const ACCESS: &str = "countersign::access";

/// A request as a line tells of it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Line {
    method: String,
    /// As the client asked.
    path: String,
    #[serde(default)]
    stage: String,
    status: u16,
    #[serde(default)]
    refused: Option<String>,
}

/// What each stage was asked for, and what is to be said about that.
pub(super) fn read<'a>(
    text: &str,
    config: &'a Config,
    notes: &mut Vec<String>,
) -> Vec<(&'a Stage, BTreeSet<String>)> {
    let mut seen: Vec<(&Stage, BTreeSet<String>)> = Vec::new();
    let (mut refused, mut strange, mut unknown) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for line in text.lines().filter_map(read_line) {
        if line.refused.is_some() || line.stage.is_empty() || line.status == 0 {
            continue;
        }
        let Some(stage) = config.stages.iter().find(|stage| stage.name == line.stage) else {
            unknown.insert(line.stage);
            continue;
        };
        let Some(below) = below(stage, &line.path) else {
            unknown.insert(line.stage);
            continue;
        };
        if stage.service != SERVICE || !proxy::auth_of(stage, &line.method, below).signs() {
            continue;
        }
        let what = format!("{} {}", line.method, line.path);
        if matches!(line.status, 401 | 403) {
            *refused.entry(what).or_insert(0_u32) += 1;
            continue;
        }
        let Some(path) = path(stage, &line.method, below).filter(|_| is_method(&line.method)) else {
            strange.insert(what);
            continue;
        };
        let called = format!("{}/{path}", line.method);
        match seen.iter_mut().find(|(one, _)| std::ptr::eq(*one, stage)) {
            Some((_, all)) => drop(all.insert(called)),
            None => seen.push((stage, BTreeSet::from([called]))),
        }
    }
    for (what, count) in refused {
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        notes.push(format!("refused {times}, and left out: {what}"));
    }
    for what in strange {
        notes.push(format!(
            "its path is written with escapes, so it is left out; a route with a variable covers it: {what}"
        ));
    }
    for name in unknown {
        notes.push(format!(
            "the configuration has no stage {name} that served such paths; its lines are left out"
        ));
    }
    for (stage, called) in &mut seen {
        *called = without_covered(std::mem::take(called));
        notes.extend(variables(called).into_iter().map(|path| {
            format!(
                "stage {}: many paths like {path}; a route with a variable there makes one of them",
                stage.name
            )
        }));
    }
    seen
}

/// A line about a request, in either form.
fn read_line(line: &str) -> Option<Line> {
    if !line.trim_start().starts_with('{') {
        return read_text(line);
    }
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    (line["target"] == ACCESS).then(|| Line::deserialize(line).ok())?
}

/// `03:04:05.678  200 GET     /orders/1    41.3 ms    1.2 kB  orders`, in colour or without.
fn read_text(line: &str) -> Option<Line> {
    let mut bare = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\x1b') {
        bare.push_str(before);
        rest = after.split_once('m')?.1;
    }
    bare.push_str(rest);
    let (head, tail) = bare.split_once(char::is_whitespace)?;
    let is_time = head.len() == 12 && head.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte));
    let mut words = tail.split_whitespace();
    let (status, method, path) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    // How long, and how much.
    let (_, took, _, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if !is_time || !matches!(took, "ms" | "s") || !size.ends_with('B') || !path.starts_with('/') {
        return None;
    }
    let rest: Vec<_> = words.collect();
    let is_note = |word: &&&str| word.contains('=') || **word == "cut";
    let refused = rest.iter().find_map(|word| word.strip_prefix("refused="));
    Some(Line {
        method: method.to_owned(),
        path: path.to_owned(),
        stage: rest.first().filter(|word| !is_note(word)).map(|word| (*word).to_owned()).unwrap_or_default(),
        status,
        refused: refused.map(str::to_owned),
    })
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
}

/// A path as IAM's pattern that matches nothing else, or the rule's own. None for one that IAM may see in another spelling.
fn path(stage: &Stage, method: &str, below: &str) -> Option<String> {
    let rule = proxy::route_of(stage, method, below).map(|route| route.path.as_str());
    let named = rule.filter(|rule| !segments(rule).any(is_greedy) && rule.contains('{'));
    let each = segments(named.unwrap_or(below)).map(|segment| {
        if named.is_some() && segment.starts_with('{') {
            return Some("*".to_owned());
        }
        let unreserved = unescaped(segment)?;
        // Stars of a rule's segment stay; those of a client are none.
        let stars = if named.is_some() { unreserved } else { literal(&unreserved) };
        Some(stars)
    });
    Some(each.collect::<Option<Vec<_>>>()?.join("/"))
}

/// Escapes of what needs none are undone (RFC 3986, 6.2.2.2); with any other it cannot be told what IAM compares.
pub(super) fn unescaped(segment: &str) -> Option<String> {
    let mut parts = segment.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        let byte = u8::from_str_radix(code, 16).ok()?;
        if !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte) {
            return None;
        }
        text.push(char::from(byte));
        text.push_str(rest);
    }
    text.bytes().all(|byte| byte.is_ascii_graphic()).then_some(text)
}

/// Paths that differ in one segment, `{}`, from many others.
fn variables(called: &BTreeSet<String>) -> BTreeSet<String> {
    let mut alike: BTreeMap<String, usize> = BTreeMap::new();
    for what in called {
        let words: Vec<_> = what.split('/').collect();
        for at in 1..words.len() {
            let mut shape = words.clone();
            shape[at] = "{}";
            *alike.entry(shape.join("/")).or_default() += 1;
        }
    }
    alike
        .into_iter()
        .filter(|(_, count)| *count >= MANY)
        .map(|(shape, _)| shape.replacen('/', " /", 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Line, path, read, read_line, unescaped};
    use crate::cli::policy::loaded;

    const STAGES: &str = "[[stage]]\nname = \"a\"\nmount = \"/m\"\n\
                          url = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"\n\
                          route = [{ path = \"/free\", auth = \"none\" }, { path = \"/orders/{id}\", auth = \"iam\" }]\n";

    #[test]
    fn lines_of_both_forms() {
        let expected = |status, refused: Option<&str>, stage: &str| Line {
            method: "GET".into(),
            path: "/m/x".into(),
            stage: stage.into(),
            status,
            refused: refused.map(str::to_owned),
        };
        for (line, line_read) in [
            (
                r#"{"timestamp":"t","level":"INFO","target":"countersign::access","method":"GET","path":"/m/x","stage":"a","status":200,"sent":2}"#,
                Some(expected(200, None, "a")),
            ),
            (
                r#"{"timestamp":"t","level":"INFO","target":"countersign::server","method":"GET","path":"/m/x","status":200}"#,
                None,
            ),
            (
                "03:04:05.678  200 GET     /m/x             41.3 ms    1.2 kB  a",
                Some(expected(200, None, "a")),
            ),
            (
                "\x1b[2m03:04:05.678\x1b[0m \x1b[32m 200\x1b[0m GET /m/x  12.0 s  \x1b[2m 3 B  a\x1b[0m  attempts=2",
                Some(expected(200, None, "a")),
            ),
            (
                "03:04:05.678  403 GET     /m/x   0.1 ms   283 B  refused=not-lent  id=1",
                Some(expected(403, Some("not-lent"), "")),
            ),
            ("03:04:05.678 gone GET     /m/x   0.1 ms   283 B  a", None),
            ("listening on http://127.0.0.1:8080", None),
            ("", None),
            ("{", None),
        ] {
            assert_eq!(read_line(line), line_read, "{line}");
        }
    }

    #[test]
    fn nothing_that_a_client_wrote_is_a_pattern() {
        let config = loaded(STAGES);
        for (path, expected) in [
            ("/m/a/b", Some("GET/a/b")),
            ("/m//a//b/", Some("GET/a/b")),
            ("/m", Some("GET/")),
            ("/m/*", Some("GET/${*}")),
            ("/m/a?", Some("GET/a${?}")),
            ("/m/${aws:username}", Some("GET/${$}{aws:username}")),
            ("/m/$*", Some("GET/${$}${*}")),
            ("/m/%61%2Db", Some("GET/a-b")),
            ("/m/a%2Ab", None),
            ("/m/a%20b", None),
            ("/m/a%2", None),
            ("/m/ü", None),
            ("/m/orders/7", Some("GET/orders/*")),
            ("/m/orders/%2A", Some("GET/orders/*")),
            ("/m/free", None),
            ("/n/a", None),
        ] {
            let line = format!(
                r#"{{"target":"countersign::access","method":"GET","path":"{path}","stage":"a","status":200}}"#
            );
            let seen = read(&line, &config, &mut Vec::new());
            let found: Vec<_> = seen.into_iter().flat_map(|(_, what)| what).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{path}");
        }
    }

    /// What the pattern says to IAM, read as IAM reads it: with its variables, and its stars, which must not be there.
    fn literal(pattern: &str) -> Option<String> {
        let (mut out, mut rest) = (String::new(), pattern);
        while let Some(at) = rest.find(['*', '?', '$']) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let variable = ["${*}", "${?}", "${$}"].iter().find(|variable| rest.starts_with(**variable));
            out.push_str(&variable?[2..3]);
            rest = &rest[4..];
        }
        out.push_str(rest);
        Some(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_was_called_means_itself(below in "(/[a-z*?${}:%&'\"\\\\0-9A-F]{0,6}){0,4}") {
            let config = loaded(STAGES);
            let Some(found) = path(&config.stages[0], "GET", &below) else { return Ok(()) };
            prop_assume!(!below.starts_with("/orders"));
            let expected = below.split('/').filter(|segment| !segment.is_empty()).map(|segment| unescaped(segment).unwrap());
            prop_assert_eq!(literal(&found), Some(expected.collect::<Vec<_>>().join("/")));
        }
    }

    #[test]
    fn what_was_refused_or_is_many_is_told() {
        let config = loaded(STAGES);
        let mut lines: Vec<_> =
            (0..6).map(|n| format!("03:04:05.678  200 GET /m/x/{n} 1.0 ms 1 B  a")).collect();
        lines.push("03:04:05.678  403 DELETE /m/y 1.0 ms 1 B  a  id=1".to_owned());
        lines.push("03:04:05.678  200 GET /y 1.0 ms 1 B  gone".to_owned());
        let mut notes = Vec::new();
        let seen = read(&lines.join("\n"), &config, &mut notes);
        assert_eq!(seen[0].1.len(), 6);
        assert!(
            notes.iter().any(|note| note.contains("refused once") && note.contains("DELETE /m/y")),
            "{notes:?}"
        );
        assert!(notes.iter().any(|note| note.contains("many paths like GET /x/{}")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("no stage gone")), "{notes:?}");
    }
}
