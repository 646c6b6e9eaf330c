//! `countersign wait`: until a running countersign is ready, or one that is about to start.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use http::{Method, StatusCode};
use tokio::time::{self, Instant};

use super::{
    WaitArgs,
    ask::{Answer, NoAnswer, ask_within},
    output::plain,
};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// It is not ready.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WaitError {
    /// Not within `--max`.
    #[error("not ready within {}: {why}", humantime::format_duration(*max))]
    #[diagnostic(help("--max sets how long to wait; --admin or COUNTERSIGN_ADMIN says where to ask"))]
    NotInTime {
        /// How long was waited.
        max: Duration,
        /// What was waited for at last.
        why: String,
    },
    /// The system gives no runtime.
    #[error("the system refuses what waiting needs")]
    System(#[from] io::Error),
}

/// Waits, and says on standard error for what whenever that changes.
///
/// # Errors
/// [`WaitError`] when it is not ready in time.
pub fn run(args: &WaitArgs) -> Result<ExitCode, WaitError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(until_ready(args))
}

async fn until_ready(args: &WaitArgs) -> Result<ExitCode, WaitError> {
    let deadline = Instant::now() + args.max;
    let mut said: Option<String> = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let why = match ask_within(left, args.admin, Method::GET, "/readyz", None).await {
            Some(Ok(answer)) if answer.status == StatusCode::OK => {
                // Whoever waits goes by the exit code.
                let _ = writeln!(io::stdout(), "ready");
                return Ok(ExitCode::SUCCESS);
            }
            Some(answered) => reason(args.admin, answered),
            None => said.clone().unwrap_or_else(|| format!("no answer from {}", args.admin)),
        };
        if said.as_ref() != Some(&why) {
            let _ = writeln!(io::stderr(), "waiting: {why}");
            said = Some(why.clone());
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(WaitError::NotInTime { max: args.max, why });
        }
        time::sleep(PAUSE).await;
    }
}

/// In one line, which moves no cursor: whoever listens there may say anything.
fn reason(address: SocketAddr, answered: Result<Answer, NoAnswer>) -> String {
    let Ok(answer) = answered else { return format!("no countersign answers on {address}") };
    let report: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let problems = report["problems"].as_array().map_or(&[][..], Vec::as_slice);
    let told: Vec<_> = problems
        .iter()
        .filter_map(|problem| {
            let what = problem["problem"].as_str()?;
            let stage = problem["stage"].as_str().map(|name| format!("stage {name}: ")).unwrap_or_default();
            let hint = problem["hint"].as_str().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Some(format!("{stage}{what}{hint}"))
        })
        .collect();
    let why = match (told.is_empty(), report["message"].as_str()) {
        (false, _) => told.join("; "),
        (true, Some(message)) => format!("{address} answers {}: {message}", answer.status.as_u16()),
        (true, None) => format!("{address} answers {}", answer.status.as_u16()),
    };
    plain(&why)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{Answer, reason};

    #[test]
    fn whoever_listens_there_moves_no_cursor() {
        for body in [
            r#"{"problems":[{"stage":"a\u001b[2J","problem":"b\r\nc","hint":"d\u009b31m"}]}"#,
            r#"{"message":"\u001b]0;title\u0007"}"#,
        ] {
            let answer = Answer { status: StatusCode::SERVICE_UNAVAILABLE, body: body.into() };
            let shown = reason(([127, 0, 0, 1], 8081).into(), Ok(answer));
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }
}
