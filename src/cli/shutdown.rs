//! `countersign shutdown`: has a running countersign end in order, and waits until it has.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use http::{HeaderValue, Method, StatusCode};
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};

use super::{
    ShutdownArgs,
    ask::{Answer, NoAnswer, ask_within},
    output::plain,
};
use crate::config::TOKEN_VARIABLE;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// It goes on, or nobody knows.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ShutdownError {
    /// Nobody listens there, or whoever does breaks off.
    #[error("no countersign answers on {address}")]
    #[diagnostic(help("is it running, with this admin address? (--admin or COUNTERSIGN_ADMIN says which)"))]
    NoAnswer {
        /// The admin address.
        address: SocketAddr,
        /// What went wrong.
        source: NoAnswer,
    },
    /// It does not let itself be ended.
    #[error("{address} refuses ({status}): {said}")]
    Refused {
        /// The admin address.
        address: SocketAddr,
        /// Of its answer.
        status: u16,
        /// What it said.
        said: String,
        /// What to do, by itself.
        #[help]
        hint: Option<String>,
    },
    /// It did not end within `--max`.
    #[error("{address} has not ended within {}", humantime::format_duration(*max))]
    #[diagnostic(help("requests under way may take limits.drain_timeout; --max sets how long to wait"))]
    NotInTime {
        /// The admin address.
        address: SocketAddr,
        /// How long was waited.
        max: Duration,
    },
    /// The token cannot be sent.
    #[error("the token in {place} cannot be used")]
    Token {
        /// A file or a variable.
        place: String,
        /// Why not, if the system says.
        source: Option<io::Error>,
    },
    /// The system gives no runtime.
    #[error("the system refuses what asking needs")]
    System(#[from] io::Error),
}

/// Asks for the end and waits for it.
///
/// # Errors
/// [`ShutdownError`] when it has not ended.
pub fn run(args: &ShutdownArgs) -> Result<ExitCode, ShutdownError> {
    let token = token(args.token_file.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(end(args, token.as_ref()))
}

async fn end(args: &ShutdownArgs, token: Option<&HeaderValue>) -> Result<ExitCode, ShutdownError> {
    let (address, max) = (args.admin, args.max);
    let deadline = Instant::now() + max;
    let answer = ask_within(max, address, Method::POST, "/quitquitquit", token)
        .await
        .ok_or(ShutdownError::NotInTime { address, max })?
        .map_err(|source| ShutdownError::NoAnswer { address, source })?;
    if answer.status != StatusCode::OK {
        return Err(refused(address, &answer));
    }
    // The admin listener is the last to close.
    while TcpStream::connect(address).await.is_ok() {
        if Instant::now() + PAUSE >= deadline {
            return Err(ShutdownError::NotInTime { address, max });
        }
        time::sleep(PAUSE).await;
    }
    // Whoever does not read on goes by the exit code.
    let _ = writeln!(io::stdout(), "ended");
    Ok(ExitCode::SUCCESS)
}

/// In its words, which move no cursor: whoever listens there may say anything.
fn refused(address: SocketAddr, answer: &Answer) -> ShutdownError {
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |key: &str| said[key].as_str().map(plain);
    ShutdownError::Refused {
        address,
        status: answer.status.as_u16(),
        said: text("message").unwrap_or_else(|| plain(&answer.text())),
        hint: text("hint"),
    }
}

/// The callers' token, where one is named: it is sent whether it is asked for or not.
fn token(file: Option<&Path>) -> Result<Option<HeaderValue>, ShutdownError> {
    let (text, place) = match file.map(PathBuf::from) {
        Some(path) => {
            let place = path.display().to_string();
            let text = fs::read_to_string(&path)
                .map_err(|error| ShutdownError::Token { place: place.clone(), source: Some(error) })?;
            (text, place)
        }
        None => match std::env::var(TOKEN_VARIABLE) {
            Ok(text) if !text.is_empty() => (text, TOKEN_VARIABLE.to_owned()),
            _ => return Ok(None),
        },
    };
    let text = zeroize::Zeroizing::new(text);
    let mut value =
        HeaderValue::from_str(text.trim()).map_err(|_| ShutdownError::Token { place, source: None })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use miette::Diagnostic as _;

    use super::{Answer, refused};

    #[test]
    fn whoever_listens_there_moves_no_cursor() {
        for body in [r#"{"message":"a\u001b[2J","hint":"b\u009b31m\r\nc"}"#, "\x1b]0;title\x07"] {
            let answer = Answer { status: StatusCode::FORBIDDEN, body: body.into() };
            let error = refused(([127, 0, 0, 1], 8081).into(), &answer);
            let hint = error.help().map(|hint| hint.to_string()).unwrap_or_default();
            let shown = format!("{error}{hint}");
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }
}
