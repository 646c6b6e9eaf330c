//! What was found, in the order in which it was looked for.

use std::{cell::RefCell, io};

use serde::Serialize;

use crate::cli::output::{self, Paint, Tone, plain};

/// Of the names at the left: at least and at most.
const WIDTHS: (usize, usize) = (12, 40);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// `tls`, `GET /orders`.
    check: String,
    status: Status,
    what: String,
    /// What to do; nothing for what is well.
    fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, what)
    }

    pub(super) fn warn(check: &str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Warn, what)
    }

    pub(super) fn fail(check: &str, what: impl Into<String>) -> Self {
        Self::new(check, Status::Fail, what)
    }

    fn new(check: &str, status: Status, what: impl Into<String>) -> Self {
        Self { check: check.to_owned(), status, what: what.into(), fix: None }
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Part>>);

/// The findings about one stage, or about none.
#[derive(Debug, Default)]
struct Part {
    /// Its name and URL.
    stage: Option<(String, String)>,
    findings: Vec<Finding>,
}

/// A finding as JSON has it.
#[derive(Serialize)]
struct Told<'a> {
    stage: Option<&'a str>,
    #[serde(flatten)]
    finding: &'a Finding,
}

#[derive(Serialize)]
struct Document<'a> {
    status: Status,
    version: &'static str,
    checks: Vec<Told<'a>>,
}

impl Report {
    /// What is found from here on is about this stage: its name and URL.
    pub(super) fn stage(&self, name: &str, url: String) {
        self.0.borrow_mut().push(Part { stage: Some((name.to_owned(), url)), findings: Vec::new() });
    }

    pub(super) fn add(&self, finding: Finding) {
        let mut parts = self.0.borrow_mut();
        if parts.is_empty() {
            parts.push(Part::default());
        }
        parts.last_mut().expect("one is there").findings.push(finding);
    }

    fn worst(&self) -> Status {
        let parts = self.0.borrow();
        parts.iter().flat_map(|part| &part.findings).map(|finding| finding.status).max().unwrap_or(Status::Ok)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.worst() == Status::Fail
    }

    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        if !json {
            return output::print(&self.text(Paint::new(output::in_colour())));
        }
        let parts = self.0.borrow();
        let mut checks = Vec::new();
        for part in parts.iter() {
            let stage = part.stage.as_ref().map(|(name, _)| name.as_str());
            checks.extend(part.findings.iter().map(|finding| Told { stage, finding }));
        }
        output::json(&Document { status: self.worst(), version: env!("CARGO_PKG_VERSION"), checks })
    }

    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        let (mut warnings, mut failures) = (0, 0);
        for part in self.0.borrow().iter() {
            if let Some((name, url)) = &part.stage {
                out.push_str(&format!("\n{} {}\n", paint.tone(Tone::Strong, &plain(name)), plain(url)));
            }
            let longest = part.findings.iter().map(|finding| plain(&finding.check).chars().count()).max();
            let width = longest.unwrap_or_default().clamp(WIDTHS.0, WIDTHS.1);
            for Finding { check, status, what, fix } in &part.findings {
                let (tone, word) = match status {
                    Status::Ok => (Tone::Good, "ok  "),
                    Status::Warn => (Tone::Warn, "warn"),
                    Status::Fail => (Tone::Bad, "fail"),
                };
                warnings += usize::from(*status == Status::Warn);
                failures += usize::from(*status == Status::Fail);
                let check = plain(check);
                out.push_str(&format!("{}  {check:<width$}  {}\n", paint.tone(tone, word), plain(what)));
                if let Some(fix) = fix {
                    let fix = paint.tone(Tone::Faint, &plain(fix));
                    out.push_str(&format!("      {:<width$}  {fix}\n", ""));
                }
            }
        }
        let count = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            more => format!("{more} {word}s"),
        };
        let end = match (warnings, failures) {
            (0, 0) => paint.tone(Tone::Good, "all is well"),
            (_, 0) => format!("no failure, {}", count(warnings, "warning")),
            _ => paint
                .tone(Tone::Bad, &format!("{}, {}", count(failures, "failure"), count(warnings, "warning"))),
        };
        out.push_str(&format!("\n{end}\n"));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Report};
    use crate::cli::output::Paint;

    #[test]
    fn what_is_shown() {
        let report = Report::default();
        report.add(Finding::ok("config", "a.toml, 1 stage"));
        report.stage("orders", "https://a/prod".to_owned());
        report.add(Finding::warn("clock", "off").fix("set it"));
        report.add(Finding::fail("GET /\x1b[31m", "no\nway").fix("mend it"));
        let expected = "\
ok    config        a.toml, 1 stage

orders https://a/prod
warn  clock         off
                    set it
fail  GET / [31m    no way
                    mend it

1 failure, 1 warning
";
        assert_eq!(report.text(Paint::new(false)), expected);
        assert!(report.text(Paint::new(true)).contains("\x1b[33mwarn\x1b[0m"));
        assert!(report.has_failed());
    }
}
