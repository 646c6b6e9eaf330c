//! What is wrong with a configuration: every mistake, where it stands, and what to write instead.
//!
//! The types are plain data; `miette` draws them with the lines of the file. The text that it draws from has every
//! value blanked that is, or may be, a secret (see `file.rs`).

use std::{fmt, path::PathBuf, sync::Arc};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    Severity, SourceCode, SourceSpan, SpanContents,
};

/// What is wrong with one value, before it is known where the value stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Mistake {
    /// What is wrong.
    pub what: String,
    /// The valid name that was probably meant.
    pub nearest: Option<String>,
    /// What to write instead.
    pub fix: Option<String>,
}

/// Separates the parts of a mistake while it travels through an error of serde's, which is only text.
const CARRY: char = '\u{1f}';

impl Mistake {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), nearest: None, fix: None }
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(super) fn nearest(mut self, name: impl Into<String>) -> Self {
        self.nearest = Some(name.into());
        self
    }

    pub(super) fn carried(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}{CARRY}{}{CARRY}{}", self.what, part(&self.nearest), part(&self.fix))
    }

    pub(super) fn from_carried(text: &str) -> Self {
        let mut parts = text.split(CARRY);
        let mut next = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        Self { what: next().unwrap_or_default(), nearest: next(), fix: next() }
    }
}

/// What sort of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file cannot be read.
    Unreadable,
    /// The file is not TOML.
    Syntax,
    /// There is no such setting.
    UnknownKey,
    /// The value is not one that the setting can have.
    Value,
    /// Something that is needed is not there.
    Missing,
    /// Each of two settings is fine, but not together.
    Conflict,
    /// It would let others use the credentials.
    Unsafe,
}

/// A file's text for showing mistakes in it, one line at a time: what stands above and below is nobody's business.
pub struct Text {
    pub(super) name: String,
    pub(super) blanked: String,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SourceCode for Text {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // miette asks without context for where a label is, and with context for what to draw.
        let whole_line = lines_before + lines_after > 0;
        let (start, end) = (span.offset(), span.offset() + span.len());
        let text = self.blanked.as_str();
        let span = match (whole_line, text.get(..start), text.get(end..)) {
            (true, Some(before), Some(after)) => {
                let from = before.rfind('\n').map_or(0, |at| at + 1);
                let to = end + after.find(['\r', '\n']).unwrap_or(after.len());
                SourceSpan::from(from..to)
            }
            _ => *span,
        };
        let read = text.read_span(&span, 0, 0)?;
        let (data, span, line, column, count) =
            (read.data(), *read.span(), read.line(), read.column(), read.line_count());
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), data, span, line, column, count)))
    }
}

/// Where a mistake stands.
#[derive(Debug, Clone)]
pub enum Place {
    /// A flag, as `--workers`, or `STAGE_URL`.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// The configuration file.
    File {
        /// The file's path as it was given or found.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// Bytes from the file's start, and how many.
        span: (usize, usize),
        /// The file's text with every possible secret blanked; same length, same lines.
        text: Arc<Text>,
    },
    /// A file as a whole.
    WholeFile(PathBuf),
    /// Nothing was written.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}: "),
            Self::Variable(name) => write!(f, "{name}: "),
            Self::File { path, line, column, .. } => write!(f, "{}:{line}:{column}: ", path.display()),
            Self::WholeFile(path) => write!(f, "{}: ", path.display()),
            Self::Nowhere => Ok(()),
        }
    }
}

impl Place {
    /// Flags first, then variables, then the file from top to bottom, then what is nowhere.
    fn order(&self) -> (u8, usize) {
        match self {
            Self::Flag(_) => (0, 0),
            Self::Variable(_) => (1, 0),
            Self::File { span, .. } => (2, span.0),
            Self::WholeFile(_) => (3, 0),
            Self::Nowhere => (4, 0),
        }
    }

    /// For a sentence about two places: "--mount", "line 12".
    pub(super) fn short(&self) -> String {
        match self {
            Self::Flag(name) | Self::Variable(name) => name.clone(),
            Self::File { line, .. } => format!("line {line}"),
            Self::WholeFile(path) => path.display().to_string(),
            Self::Nowhere => "the default".to_owned(),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}{}{}", if key.is_empty() { String::new() } else { format!("{key}: ") }, mistake.what)]
pub struct Problem {
    /// What sort of mistake it is.
    pub kind: Kind,
    /// Where it stands.
    pub place: Place,
    /// The setting, as `stage[0].timeouts.connect`; empty when it is about none in particular.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub mistake: Mistake,
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match (&self.mistake.nearest, &self.mistake.fix) {
            (Some(name), Some(fix)) => Some(Box::new(format!("did you mean {name}? {fix}"))),
            (Some(name), None) => Some(Box::new(format!("did you mean {name}?"))),
            (None, Some(fix)) => Some(Box::new(fix)),
            (None, None) => None,
        }
    }

    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        match &self.place {
            Place::File { text, .. } => Some(text.as_ref()),
            _ => None,
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        match self.place {
            Place::File { span: (start, length), .. } => {
                Some(Box::new(std::iter::once(LabeledSpan::new(None, start, length))))
            }
            _ => None,
        }
    }
}

/// Everything that is wrong with a configuration, in the order of reading.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Error {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has a mistake"),
            n => write!(f, "the configuration has {n} mistakes"),
        }
    }
}

impl Diagnostic for Error {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

impl Error {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.order());
        Self { problems }
    }

    /// The mistakes as a terminal shows them, each with its line of the file; in colour if so wished.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
        let mut out = format!("{self}\n");
        for problem in &self.problems {
            out.push('\n');
            handler
                .render_report(&mut out, problem)
                .expect("a String takes everything that is written to it");
        }
        out
    }
}

/// The name that a mistyped one was probably meant to be, if one is near enough.
pub(super) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    names
        .map(|name| (strsim::damerau_levenshtein(&typed, &name.to_ascii_lowercase().replace('-', "_")), name))
        .filter(|(distance, name)| *distance <= (name.len().max(typed.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}
