//! A signature mismatch: the canonical request and the string to sign that the gateway says it expected, line by line
//! against ours, and what differs in words.
//!
//! REST APIs print both behind the sentence, between single quotes; some answers end earlier. A value may hold a quote
//! itself, so the marks that surround the texts are looked for from the end. What either side masks is taken for equal,
//! and never shown.

use super::{Diagnosis, Line, Side, facts::Facts};

/// What the gateway says it expected, as far as it is there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected<'t> {
    canonical: Option<&'t str>,
    to_sign: Option<&'t str>,
}

const CANONICAL: &str = "canonical string for this request should have been";
const TO_SIGN: &str = "string-to-sign should have been";

/// Whose values are never shown.
const SECRET: [&str; 6] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-amz-security-token",
    "x-api-key",
    "x-countersign-token",
];

fn read<'t>(text: &'t str, lower: &str) -> Expected<'t> {
    let begin = lower.find(CANONICAL).map(|at| at + CANONICAL.len());
    let second = lower.rfind(TO_SIGN);
    let canonical = begin.and_then(|begin| {
        // `The ` stands before the second mark, and may be all that there is of it.
        let close = match second.filter(|second| *second >= begin) {
            Some(second) => text[begin..second].rfind('\'').unwrap_or(second - begin),
            None => text[begin..].rfind("'\n").unwrap_or(text.len() - begin),
        };
        let end = text.len().min(begin + close + 1);
        inside(&text[begin..end])
    });
    let to_sign = second.and_then(|at| inside(&text[at + TO_SIGN.len()..]));
    Expected { canonical, to_sign }
}

/// What stands between the quotes; the last one may be missing.
fn inside(text: &str) -> Option<&str> {
    let (_, text) = text.split_once('\'')?;
    let text = text.trim_end_matches(['\r', '\n', ' ']);
    let text = text.strip_suffix('\'').unwrap_or(text);
    (!text.is_empty()).then_some(text)
}

/// The parts of a canonical request. Those behind the place where the text ends are missing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts<'t> {
    method: Option<&'t str>,
    path: Option<&'t str>,
    query: Option<&'t str>,
    headers: Vec<(&'t str, &'t str)>,
    /// Whether the headers are all there.
    closed: bool,
    signed: Option<&'t str>,
    payload: Option<&'t str>,
}

impl<'t> Parts<'t> {
    /// What the gateway printed, and whether that is all of it. Of what is not, the last line may be cut through and is
    /// left out.
    fn expected(canonical: &'t str, followed: bool) -> (Self, bool) {
        let last = canonical.rsplit('\n').next().unwrap_or_default();
        let whole = followed || (last.len() == 64 && last.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let kept = if whole { canonical } else { canonical.rsplit_once('\n').map_or("", |(kept, _)| kept) };
        (Self::read(kept), whole)
    }

    fn read(text: &'t str) -> Self {
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        let mut parts =
            Self { method: lines.next(), path: lines.next(), query: lines.next(), ..Self::default() };
        for line in lines.by_ref() {
            if line.is_empty() {
                parts.closed = true;
                break;
            }
            parts.headers.push(line.split_once(':').unwrap_or((line, "")));
        }
        parts.signed = lines.next();
        parts.payload = lines.next();
        parts
    }
}

/// Whether somebody has put stars or dots in place of a value.
fn is_masked(value: &str) -> bool {
    value.starts_with('•') || (!value.is_empty() && value.bytes().all(|byte| byte == b'*'))
}

fn shown(name: &str, value: &str) -> String {
    let hidden = SECRET.contains(&name.to_ascii_lowercase().as_str()) || is_masked(value);
    if hidden { format!("{name}:••••") } else { format!("{name}:{value}") }
}

/// The lines of both sides, and what differs in words.
#[derive(Default)]
struct Compared {
    lines: Vec<Line>,
    differs: Vec<(Part, String)>,
}

/// What of a canonical request differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Method,
    Path,
    Query,
    Host,
    Header,
    SignedHeaders,
    Payload,
}

impl Compared {
    fn line(&mut self, kind: Side, line: impl Into<String>) {
        self.lines.push(Line { kind, line: line.into() });
    }

    /// One line of each side; `theirs` is missing where their text has ended.
    fn pair(&mut self, part: Part, name: &str, ours: Option<&str>, theirs: Option<&str>) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours == theirs => self.line(Side::Same, ours),
            (Some(ours), Some(theirs)) => {
                self.line(Side::Ours, ours);
                self.line(Side::Theirs, theirs);
                self.differs.push((
                    part,
                    format!("the {name} (signed: {}, expected: {})", quote(ours), quote(theirs)),
                ));
            }
            _ => {}
        }
    }

    /// Both lists are sorted by name.
    fn headers(&mut self, ours: &Parts<'_>, theirs: &Parts<'_>) {
        let (mut mine, mut yours) = (ours.headers.iter().peekable(), theirs.headers.iter().peekable());
        loop {
            match (mine.peek().copied(), yours.peek().copied()) {
                (Some((name, value)), Some((other, expected))) if name == other => {
                    if value == expected || is_masked(value) || is_masked(expected) {
                        self.line(Side::Same, shown(name, value));
                    } else {
                        self.line(Side::Ours, shown(name, value));
                        self.line(Side::Theirs, shown(name, expected));
                        let part = if *name == "host" { Part::Host } else { Part::Header };
                        let how = if SECRET.contains(name) {
                            String::new()
                        } else {
                            format!(" (signed: {}, expected: {})", quote(value), quote(expected))
                        };
                        self.differs.push((part, format!("the value of the header {name}{how}")));
                    }
                    mine.next();
                    yours.next();
                }
                (Some((name, value)), Some((other, _))) if name < other => {
                    self.only_ours(name, value);
                    mine.next();
                }
                (Some((name, value)), None) if theirs.closed => {
                    self.only_ours(name, value);
                    mine.next();
                }
                (_, Some((other, expected))) => {
                    self.line(Side::Theirs, shown(other, expected));
                    self.differs.push((
                        Part::Header,
                        format!("the header {other}, which the gateway counts and we did not sign"),
                    ));
                    yours.next();
                }
                _ => break,
            }
        }
    }

    fn only_ours(&mut self, name: &str, value: &str) {
        self.line(Side::Ours, shown(name, value));
        self.differs.push((
            Part::Header,
            format!("the header {name}, which we signed and the gateway did not count"),
        ));
    }
}

/// Whole, since a secret that is cut through would not be found any more.
fn quote(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn compare(ours: &Parts<'_>, theirs: &Parts<'_>) -> Compared {
    let mut out = Compared::default();
    out.pair(Part::Method, "method", ours.method, theirs.method);
    out.pair(Part::Path, "path", ours.path, theirs.path);
    out.pair(Part::Query, "query", ours.query, theirs.query);
    out.headers(ours, theirs);
    if theirs.closed {
        out.line(Side::Same, "");
        out.pair(Part::SignedHeaders, "list of signed headers", ours.signed, theirs.signed);
        out.pair(Part::Payload, "hash of the body", ours.payload, theirs.payload);
    }
    out
}

fn advice(part: Part) -> &'static str {
    match part {
        Part::Method => {
            "Something changes the method on the way: look for an X-HTTP-Method-Override header, and at proxies in between."
        }
        Part::Path => {
            "Something changes the path on the way, or the stage's url lacks a part of it (a base path mapping, the stage's name): look at proxies and a CDN in between, which may decode %XX or merge slashes."
        }
        Part::Query => {
            "Something changes the query on the way, or orders or encodes it anew: look at proxies and a CDN in between."
        }
        Part::Host => {
            "The gateway is reached under another name than the one that was signed: put the name that it sees into the stage's url, and the address to connect to into connect_to."
        }
        Part::Header => {
            "Something on the way changes that header: a corporate proxy, or a CDN in front of the API. If it is one of signed_headers, take it out there."
        }
        Part::SignedHeaders => "Something on the way adds, drops or renames a signed header.",
        Part::Payload => {
            "The body that arrived is not the body that was signed: something on the way decodes, compresses or rewrites it."
        }
    }
}

pub(super) fn add(facts: &Facts<'_>, diagnosis: &mut Diagnosis) {
    let expected = read(&facts.text, &facts.lower);
    let Some(ours) = facts.seen.ours else {
        if let Some(canonical) = expected.canonical {
            let (theirs, _) = Parts::expected(canonical, expected.to_sign.is_some());
            diagnosis.diff = Some(compare(&theirs, &theirs).lines.into_iter().map(theirs_alone).collect());
            hide(&[&theirs], diagnosis);
        }
        diagnosis.why.push_str(" What was signed is not known, so nothing can be compared.");
        return;
    };
    let signed = String::from_utf8_lossy(ours.canonical_request);
    let signed = Parts::read(&signed);
    let Some(canonical) = expected.canonical else {
        let Some(to_sign) = expected.to_sign else {
            diagnosis.why.push_str(" It does not say which request it expected.");
            return;
        };
        strings_to_sign(ours.string_to_sign, to_sign, diagnosis);
        return;
    };
    let (theirs, whole) = Parts::expected(canonical, expected.to_sign.is_some());
    let compared = compare(&signed, &theirs);
    if compared.differs.is_empty() {
        if whole {
            diagnosis.why.push_str(
                " Line by line it expected the very request that was signed, so only the secret access key can differ: it is \
                 not the one of this access key id.",
            );
            diagnosis
                .excluded
                .push("The request: path, query, headers and body arrived as they were signed.".to_owned());
            scopes(ours.string_to_sign, expected.to_sign, diagnosis);
        } else {
            diagnosis.why.push_str(
                " As far as its text goes, it expected the very request that was signed; the end of it is missing, so the \
                 rest cannot be compared.",
            );
        }
    } else {
        let words: Vec<_> = compared.differs.iter().map(|(_, words)| words.as_str()).collect();
        diagnosis.why.push_str(&format!(" What differs is {}.", words.join("; ")));
        let mut told: Vec<Part> = Vec::new();
        for (part, _) in &compared.differs {
            if !told.contains(part) {
                told.push(*part);
            }
        }
        diagnosis.steps = told.into_iter().map(|part| advice(part).to_owned()).collect();
        if !whole {
            diagnosis.why.push_str(" The end of its text is missing, so there may be more.");
        }
    }
    diagnosis.diff = Some(compared.lines);
    hide(&[&signed, &theirs], diagnosis);
}

/// Shorter values could be any word.
const SHORTEST_SECRET: usize = 8;

/// Takes what secret headers of either side hold out of all texts, where a path, a query or another header repeats it.
fn hide(sides: &[&Parts<'_>], diagnosis: &mut Diagnosis) {
    let fields = sides.iter().flat_map(|parts| &parts.headers);
    let secret = fields.filter(|(name, value)| SECRET.contains(name) && value.len() >= SHORTEST_SECRET);
    let mut spellings: Vec<String> = Vec::new();
    for (_, value) in secret.filter(|(_, value)| !is_masked(value)) {
        let once = encoded(value);
        spellings.extend([encoded(&once), once, (*value).to_owned()]);
    }
    // The longest first: a spelling may hold another one.
    spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    let lines = diagnosis.diff.iter_mut().flatten().map(|line| &mut line.line);
    for text in lines.chain(&mut diagnosis.steps).chain([&mut diagnosis.why]) {
        for spelling in spellings.iter().filter(|spelling| text.contains(*spelling)).collect::<Vec<_>>() {
            *text = text.replace(spelling, "••••");
        }
    }
}

/// As a canonical request spells it in its path and query.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

fn theirs_alone(line: Line) -> Line {
    Line { kind: Side::Theirs, ..line }
}

/// Where the canonical requests agree: date and scope.
fn scopes(ours: &str, theirs: Option<&str>, diagnosis: &mut Diagnosis) {
    let Some(theirs) = theirs else { return };
    let differs = |at: usize| match (ours.lines().nth(at), theirs.lines().nth(at)) {
        (Some(ours), Some(theirs)) if ours != theirs => Some(format!("{ours} and {theirs}")),
        _ => None,
    };
    for (at, what) in [(1, "date"), (2, "credential scope")] {
        if let Some(both) = differs(at) {
            diagnosis.why.push_str(&format!(" But the {what} of the strings to sign differs: {both}."));
        }
    }
}

/// Where the gateway printed only the string to sign: its last line is the hash of the whole request.
fn strings_to_sign(ours: &str, theirs: &str, diagnosis: &mut Diagnosis) {
    let mut out = Compared::default();
    let mut differs = Vec::new();
    let names = ["algorithm", "date", "credential scope", "hash of the canonical request"];
    for ((name, ours), theirs) in names.into_iter().zip(ours.lines()).zip(theirs.lines()) {
        if ours == theirs {
            out.line(Side::Same, ours);
        } else {
            out.line(Side::Ours, ours);
            out.line(Side::Theirs, theirs);
            differs.push(name);
        }
    }
    if differs.is_empty() {
        diagnosis.why.push_str(
            " The strings to sign are equal, so only the secret access key can differ: it is not the one of this access key \
             id.",
        );
    } else {
        diagnosis
            .why
            .push_str(&format!(" Of the strings to sign, the {} differs.", differs.join(" and the ")));
    }
    diagnosis.diff = Some(out.lines);
}
