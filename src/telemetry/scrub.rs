//! The last line of defence: diagnostics are searched for the secrets in use before they are written.
//!
//! Diagnostics are rare, so the search costs nothing that matters. Lines about requests do not pass here: they hold
//! nothing that could be secret.

use std::{
    io::{self, Write},
    sync::RwLock,
};

use memchr::memmem;
use zeroize::Zeroizing;

use crate::secret::Secret;

static SECRETS: RwLock<Vec<Secret>> = RwLock::new(Vec::new());

/// How many are remembered: credentials change every hour, and old ones have expired.
const REMEMBERED: usize = 64;

/// What stands in place of a secret.
const HIDDEN: &[u8; 8] = b"[hidden]";

/// Bytes below which a text is not hidden: hiding it would hide common words.
pub const SHORTEST_HIDDEN: usize = 8;

/// Never writes this text again. Texts under [`SHORTEST_HIDDEN`] are not remembered.
pub fn hide(secret: &Secret) {
    remember(secret);
    // As a JSON line spells it (RFC 8259 section 7), where that differs.
    let written = Zeroizing::new(serde_json::to_string(secret.expose()).expect("a text is always JSON"));
    let written = &written[1..written.len() - 1];
    if written != secret.expose() {
        remember(&Secret::new(written));
    }
}

fn remember(secret: &Secret) {
    if secret.expose().len() < SHORTEST_HIDDEN {
        return;
    }
    let mut secrets = SECRETS.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !secrets.contains(secret) {
        if secrets.len() == REMEMBERED {
            secrets.remove(0);
        }
        secrets.push(secret.clone());
    }
}

/// What is never written now.
pub(super) fn hidden() -> Vec<Secret> {
    SECRETS.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

/// Whether this text is remembered.
#[cfg(test)]
pub fn is_hidden(text: &str) -> bool {
    SECRETS.read().unwrap_or_else(std::sync::PoisonError::into_inner).iter().any(|held| held.expose() == text)
}

/// Writes lines to `W` without the secrets. Each write must hold whole lines, as a subscriber's do.
pub(super) struct Scrubbed<W>(pub W);

impl<W: Write> Write for Scrubbed<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let secrets = SECRETS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = |secret: &&Secret| memmem::find(line, secret.expose().as_bytes()).is_some();
        if !secrets.iter().any(|secret| found(&secret)) {
            self.0.write_all(line)?;
            return Ok(line.len());
        }
        let mut text = line.to_vec();
        for secret in secrets.iter() {
            let secret = secret.expose().as_bytes();
            let mut from = 0;
            while let Some(found) = memmem::find(&text[from..], secret) {
                let at = from + found;
                text.splice(at..at + secret.len(), *HIDDEN);
                // What stands there now may itself read like a secret.
                from = at + HIDDEN.len();
            }
        }
        self.0.write_all(&text)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{Scrubbed, hide};
    use crate::secret::Secret;
    use std::io::Write as _;

    #[test]
    fn secrets_in_use_are_hidden_wherever_they_stand() {
        hide(&Secret::new("canary-one-0123"));
        hide(&Secret::new("canary-two/+=="));
        hide(&Secret::new("short"));
        let mut out = Scrubbed(Vec::new());
        out.write_all(b"a canary-one-0123canary-one-0123 canary-two/+== short\n").unwrap();
        out.write_all(b"nothing here\n").unwrap();
        let text = String::from_utf8(out.0).unwrap();
        assert_eq!(text, "a [hidden][hidden] [hidden] short\nnothing here\n");
        hide(&Secret::new("canary\"three\\0123"));
        let mut out = Scrubbed(Vec::new());
        out.write_all(br#"{"message":"canary\"three\\0123"} canary"three\0123"#).unwrap();
        assert_eq!(String::from_utf8(out.0).unwrap(), r#"{"message":"[hidden]"} [hidden]"#);
        // The replacement is no secret, whatever the secrets are.
        hide(&Secret::new("[hidden]"));
        let mut out = Scrubbed(Vec::new());
        out.write_all(b"a [hidden] canary-one-0123[hidden]\n").unwrap();
        assert_eq!(out.0, b"a [hidden] [hidden][hidden]\n");
    }
}
