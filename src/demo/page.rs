//! How the demo looks on a terminal: labels, marks and colours, secrets shortened, nothing wider than the page.

use std::io::{self, Write};

/// The widest line, in characters.
pub const WIDTH: usize = 92;
/// Where values start: labels and marks stand left of it.
const COLUMN: usize = 19;

/// What a piece of text means, and so how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// As the terminal writes by itself.
    Plain,
    /// A heading.
    Heading,
    /// Less important than what stands beside it.
    Quiet,
    /// Put in on the way, or as it should be.
    Good,
    /// Not as it should be.
    Bad,
}

/// Writes the demo's lines.
pub struct Page<'a, W> {
    out: &'a mut W,
    colour: bool,
}

impl<'a, W: Write> Page<'a, W> {
    /// Writes to `out`, with ANSI colours or without.
    pub fn new(out: &'a mut W, colour: bool) -> Self {
        Self { out, colour }
    }

    /// The text in its look.
    #[must_use]
    pub fn paint(&self, look: Look, text: &str) -> String {
        let code = match look {
            _ if !self.colour => return text.to_owned(),
            Look::Plain => return text.to_owned(),
            Look::Heading => "1",
            Look::Quiet => "2",
            Look::Good => "32",
            Look::Bad => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// One line, cut at the page's edge.
    ///
    /// # Errors
    /// When the output fails.
    pub fn line(&mut self, look: Look, text: &str) -> io::Result<()> {
        let painted = self.paint(look, &fit(text, WIDTH));
        writeln!(self.out, "{painted}")
    }

    /// A line of pieces that each have their own look, not cut.
    ///
    /// # Errors
    /// When the output fails.
    pub fn pieces(&mut self, pieces: &[(Look, &str)]) -> io::Result<()> {
        let painted: String = pieces.iter().map(|(look, text)| self.paint(*look, text)).collect();
        writeln!(self.out, "{painted}")
    }

    /// An empty line.
    ///
    /// # Errors
    /// When the output fails.
    pub fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// A line across the page.
    ///
    /// # Errors
    /// When the output fails.
    pub fn rule(&mut self) -> io::Result<()> {
        self.line(Look::Quiet, &"─".repeat(WIDTH))
    }

    /// A label and a value; the label may be blank, for a value of several lines.
    ///
    /// # Errors
    /// When the output fails.
    pub fn entry(&mut self, label: &str, look: Look, value: &str) -> io::Result<()> {
        let label = format!("    {label:<width$}", width = COLUMN - 4);
        self.pieces(&[(Look::Quiet, &label), (look, &fit(value, WIDTH - COLUMN))])
    }

    /// A label and a text, broken between words into at most four lines.
    ///
    /// # Errors
    /// When the output fails.
    pub fn text(&mut self, label: &str, look: Look, text: &str) -> io::Result<()> {
        const LINES: usize = 4;
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let full = lines.len() == LINES;
            let line = lines.last_mut().expect("there is a first line");
            if line.is_empty() {
                line.push_str(word);
            } else if line.chars().count() + 1 + word.chars().count() <= WIDTH - COLUMN {
                line.push(' ');
                line.push_str(word);
            } else if full {
                line.push_str(" …");
                break;
            } else {
                lines.push(word.to_owned());
            }
        }
        for (index, line) in lines.iter().enumerate() {
            self.entry(if index == 0 { label } else { "" }, look, line)?;
        }
        Ok(())
    }

    /// A value with a `+`: it was not in what the tool sent.
    ///
    /// # Errors
    /// When the output fails.
    pub fn added(&mut self, value: &str) -> io::Result<()> {
        let mark = format!("{:>width$} ", "+", width = COLUMN - 1);
        self.pieces(&[(Look::Good, &mark), (Look::Good, &fit(value, WIDTH - COLUMN))])
    }
}

/// Cuts text at so many characters, the last of which then says so; control characters do not get through.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    let clean = text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character });
    if text.chars().count() <= width {
        return clean.collect();
    }
    clean.take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A secret as it may be shown: its first four characters, and how long it is.
#[must_use]
pub fn masked(secret: &str) -> String {
    let length = secret.chars().count();
    if length < 16 {
        return format!("… ({length} characters)");
    }
    let start: String = secret.chars().take(4).collect();
    format!("{start}… ({length} characters)")
}

#[cfg(test)]
mod tests {
    use super::{Look, Page, WIDTH, fit, masked};

    #[test]
    fn text_is_cut_and_cleaned() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("a\x1b[31m\n", 9), "a\u{fffd}[31m\u{fffd}");
    }

    #[test]
    fn a_long_text_is_broken_between_words_and_ends_after_four_lines() {
        let mut out = Vec::new();
        let text = "word ".repeat(100);
        Page::new(&mut out, false).text("label", Look::Plain, &text).expect("memory takes all");
        let page = String::from_utf8_lossy(&out).into_owned();
        assert_eq!(page.lines().count(), 4);
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH) && page.ends_with(" …\n"), "{page}");
    }

    #[test]
    fn a_secret_is_never_shown_whole() {
        assert_eq!(masked("0123456789abcdef"), "0123… (16 characters)");
        assert_eq!(masked("short"), "… (5 characters)");
    }

    #[test]
    fn colours_are_written_only_when_asked_for() {
        for (colour, expected) in [
            (false, "    label          value\n"),
            (true, "\x1b[2m    label          \x1b[0m\x1b[32mvalue\x1b[0m\n"),
        ] {
            let mut out = Vec::new();
            Page::new(&mut out, colour).entry("label", Look::Good, "value").expect("memory takes all");
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
