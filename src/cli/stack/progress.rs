//! What is seen while CloudFormation works, on standard error: on a terminal a line for each resource that it is busy with,
//! redrawn in place; elsewhere, and on terminals that only print, a line for each thing that happened.

use std::{
    collections::HashMap,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::status;
use crate::{
    aws::cloudformation::Event,
    cli::output::{Paint, Tone, errors_in_colour, obeyed, plain},
};

/// How often what turns turns on.
const TURN: Duration = Duration::from_millis(100);

/// What is seen.
pub(super) enum Progress {
    /// On a terminal.
    Drawn(Box<Drawn>),
    /// Elsewhere.
    Lines,
    /// For commands that take no time.
    Nothing,
}

/// Lines that are drawn in place.
pub(super) struct Drawn {
    lines: MultiProgress,
    busy: HashMap<String, ProgressBar>,
    whole: ProgressBar,
    done: usize,
    paint: Paint,
}

impl Progress {
    /// By where standard error goes.
    pub fn new(watched: bool) -> Self {
        match (watched, io::stderr().is_terminal() && obeyed()) {
            (false, _) => Self::Nothing,
            (true, false) => Self::Lines,
            (true, true) => Self::Drawn(Box::new(Drawn {
                lines: MultiProgress::new(),
                busy: HashMap::new(),
                whole: ProgressBar::hidden(),
                done: 0,
                paint: Paint::new(errors_in_colour()),
            })),
        }
    }

    /// Something happened to a resource, or to the stack itself.
    pub fn event(&mut self, event: &Event, itself: bool) {
        match self {
            Self::Nothing => {}
            Self::Lines => {
                // Nobody reads any more: no reason to stop watching.
                let _ = say(&line(event));
            }
            Self::Drawn(drawn) => drawn.event(event, itself),
        }
    }

    /// What is drawn in place goes; what was said stays.
    pub fn end(&mut self) {
        if let Self::Drawn(drawn) = self {
            for (_, bar) in drawn.busy.drain() {
                bar.finish_and_clear();
            }
            drawn.whole.finish_and_clear();
            drawn.whole = ProgressBar::hidden();
            drawn.done = 0;
        }
    }
}

impl Drawn {
    fn event(&mut self, event: &Event, itself: bool) {
        if itself {
            return self.whole(event);
        }
        if status::moves(&event.status) {
            let bar = self.busy.entry(event.logical_id.clone()).or_insert_with(|| {
                let bar = self.lines.insert_before(&self.whole, turning("  {spinner} {msg} {elapsed}"));
                bar.enable_steady_tick(TURN);
                bar
            });
            bar.set_message(format!("{} {}", status::doing(&event.status), named(event)));
            return;
        }
        if let Some(bar) = self.busy.remove(&event.logical_id) {
            bar.finish_and_clear();
            self.lines.remove(&bar);
        }
        self.done += 1;
        let said = match status::failed(&event.status) {
            true => format!("  {} {}", self.paint.tone(Tone::Bad, "✗"), line(event)),
            false => format!(
                "  {} {}{}",
                self.paint.tone(Tone::Good, "✓"),
                named(event),
                if event.status.starts_with("DELETE") { " deleted" } else { "" }
            ),
        };
        // A terminal that is gone: no reason to stop watching.
        let _ = self.lines.println(said);
        self.whole.set_message(format!("{} done", self.done));
    }

    fn whole(&mut self, event: &Event) {
        if !status::moves(&event.status) {
            return;
        }
        // What is taken back is not counted to what was made.
        let doing = format!("{} {}", plain(&event.logical_id), status::doing(&event.status));
        if self.whole.prefix() != doing {
            self.done = 0;
        }
        if self.whole.is_hidden() {
            self.whole = self.lines.add(turning("{spinner} {prefix}: {msg} {elapsed}"));
        }
        self.whole.set_prefix(doing);
        self.whole.set_message(format!("{} done", self.done));
        self.whole.enable_steady_tick(TURN);
    }
}

fn turning(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is one of indicatif's");
    ProgressBar::new_spinner().with_style(style)
}

fn named(event: &Event) -> String {
    format!("{} ({})", plain(&event.logical_id), plain(&event.kind))
}

/// `CREATE_FAILED Method (AWS::ApiGateway::Method): why`
pub(super) fn line(event: &Event) -> String {
    let reason = event.reason.as_deref().filter(|_| !status::moves(&event.status));
    let reason = reason.map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    format!("{} {}{reason}", plain(&event.status), named(event))
}

/// A line for whoever watches.
pub(super) fn say(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{text}")
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::aws::cloudformation::Event;

    #[test]
    fn what_an_event_says_moves_no_cursor() {
        let text = "A\x1b[2J\r\n\u{9b}31m".to_owned();
        let event = Event {
            id: text.clone(),
            logical_id: text.clone(),
            physical_id: None,
            kind: text.clone(),
            status: text.clone(),
            reason: Some(text),
        };
        let shown = line(&event);
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
}
