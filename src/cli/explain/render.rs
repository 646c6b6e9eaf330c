//! An explanation for people: each text as it is signed, and beside each line where it comes from. In colour on a
//! terminal, plain elsewhere.

use super::explanation::{Explanation, Sent, Signing};
use crate::{
    diagnosis::{Diagnosis, Side},
    proxy::Refused,
    telemetry::exchange::Line,
};

/// Where what stands beside a line begins, for lines that leave room.
const BESIDE: usize = 56;

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Red,
    Green,
}

struct Page {
    out: String,
    colour: bool,
}

impl Page {
    fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Red => 31,
            Ink::Green => 32,
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn heading(&mut self, text: &str) {
        let text = self.ink(Ink::Bold, text);
        self.out.push('\n');
        self.line(&text);
    }

    /// What comes from outside holds no control characters here: a terminal would obey them.
    fn inked(&mut self, ink: Option<Ink>, before: &str, text: &str, beside: &str) {
        let text = visible(text);
        let width = before.chars().count() + text.chars().count();
        let gap = " ".repeat(BESIDE.saturating_sub(width).max(2));
        let text = ink.map_or_else(|| text.clone(), |ink| self.ink(ink, &text));
        let beside = if beside.is_empty() {
            String::new()
        } else {
            format!("{gap}{}", self.ink(Ink::Dim, &visible(beside)))
        };
        let line = format!("{before}{text}{beside}");
        self.line(line.trim_end());
    }

    fn lines(&mut self, lines: &[Line]) {
        for line in lines {
            self.inked(None, "  ", &line.text, &line.from);
        }
    }
}

fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl Explanation<'_> {
    /// The whole page.
    pub(super) fn text(&self, colour: bool) -> String {
        let mut page = Page { out: String::new(), colour };
        if let Some(refused) = self.refusal {
            refusal(&mut page, refused);
        }
        if let Some(sent) = &self.request {
            title(&mut page, sent, self.signing.as_ref());
            if let Some(signing) = &self.signing {
                steps(&mut page, signing);
            }
            request(&mut page, sent, self.signing.as_ref());
        }
        match &self.diagnosis {
            Some(diagnosis) => diagnosed(&mut page, diagnosis),
            None if self.compared && self.refusal.is_none() => {
                page.heading("The refusal");
                page.line("  It is none that is known: perhaps the backend's own, or one that the API's owner has reworded.");
            }
            None => {}
        }
        page.out
    }
}

fn refusal(page: &mut Page, refused: &Refused) {
    let title = page.ink(Ink::Red, &format!("The proxy would refuse this request: {}", refused.code));
    page.line(&title);
    page.inked(None, "  ", &refused.message, "");
    page.inked(None, "  ", &refused.hint, "");
}

fn title(page: &mut Page, sent: &Sent, signing: Option<&Signing>) {
    let title = page.ink(Ink::Bold, &visible(&format!("{} {}", sent.method, sent.url)));
    page.line(&title);
    page.line(&format!("Stage {}, auth = \"{}\". Nothing is sent.", sent.stage, sent.auth));
    if let Some(signing) = signing {
        let until =
            signing.expires.as_ref().map(|expires| format!(", valid until {expires}")).unwrap_or_default();
        page.line(&format!(
            "Signed with {} (from {}{until}).",
            visible(&signing.access_key_id),
            visible(&signing.credentials)
        ));
    } else {
        page.line("Not signed: its route does not ask for that.");
    }
}

fn steps(page: &mut Page, signing: &Signing) {
    page.heading("1. Canonical request");
    page.lines(&signing.canonical_request);
    page.heading("2. Its hash (SHA-256)");
    page.inked(None, "  ", &signing.canonical_request_hash, "");
    page.heading("3. String to sign");
    page.lines(&signing.string_to_sign);
    page.heading("4. Signing key (never shown)");
    let (last, keys) = match signing.derivation.split_last() {
        Some((last, keys)) => (Some(last), keys),
        None => (None, &[][..]),
    };
    for key in keys {
        page.inked(None, "  ", &format!("{:<8} = {}", key.step, key.of), "");
    }
    page.heading("5. Signature");
    page.inked(None, "  ", &signing.signature, last.map_or("", |last| last.of.as_str()));
}

fn request(page: &mut Page, sent: &Sent, signing: Option<&Signing>) {
    page.heading(if signing.is_some() {
        "6. The request as it would be sent"
    } else {
        "The request as it would be sent"
    });
    page.inked(None, "  ", &format!("{} {} HTTP/1.1", sent.method, sent.target), "");
    for field in &sent.headers {
        page.inked(None, "  ", &format!("{}: {}", field.name, field.value), "");
    }
    if sent.body.length > 0 {
        let bytes = if sent.body.length == 1 { "byte" } else { "bytes" };
        page.inked(Some(Ink::Dim), "  ", &format!("({} {bytes} of body)", sent.body.length), "");
    }
}

fn diagnosed(page: &mut Page, diagnosis: &Diagnosis) {
    page.heading(&format!("The refusal: {}", diagnosis.title));
    page.inked(None, "  ", &diagnosis.why, "");
    if let Some(diff) = &diagnosis.diff {
        page.heading("Compared (- signed here, + expected by the gateway)");
        let first = diff.iter().position(|line| line.kind != Side::Same);
        for (index, line) in diff.iter().enumerate() {
            let (ink, before) = match line.kind {
                Side::Same => (None, "    "),
                Side::Ours => (Some(Ink::Red), "  - "),
                Side::Theirs => (Some(Ink::Green), "  + "),
            };
            let beside = if Some(index) == first { "<- the first difference" } else { "" };
            page.inked(ink, before, &line.line, beside);
        }
    }
    page.heading("What to do");
    for step in &diagnosis.steps {
        page.inked(None, "  - ", step, "");
    }
    if let Some(policy) = &diagnosis.policy {
        page.heading("The policy that allows it");
        let text = serde_json::to_string_pretty(policy).unwrap_or_default();
        for line in text.lines() {
            page.inked(None, "  ", line, "");
        }
    }
    if !diagnosis.excluded.is_empty() {
        page.heading("What it is not");
        for text in &diagnosis.excluded {
            page.inked(None, "  - ", text, "");
        }
    }
}
