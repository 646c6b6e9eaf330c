//! Runs a profile's `credential_process` and reads what it prints.
//!
//! The SDK could do it, but without a time-out, with the proxy's standard input, and with the command's standard
//! error in its error and its log. The format: AWS SDKs and Tools Reference Guide, "Process credential provider".

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_types::date_time::{DateTime, Format};
use serde_json::Value;

use super::{
    command,
    problem::{Kind, Problem},
};

/// A person may have to touch a key or type a code; a command that takes longer is taken to hang.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Runs `line` by the shell, as the SDKs do, and gives the credentials it prints.
///
/// # Errors
///
/// Says that it failed and how to see why; nothing that it printed.
pub(super) async fn credentials(line: &str, profile: &str) -> Result<Credentials, Problem> {
    let (program, flag) = if cfg!(windows) { ("cmd.exe", "/C") } else { ("sh", "-c") };
    let mut shell = tokio::process::Command::new(program);
    shell.args([flag, line]);
    let hint = format!(
        "run it by hand to see its errors, which are kept out of this message: `aws configure export-credentials \
         --profile {profile}`"
    );
    let printed = command::output(shell, LIMIT).await.map_err(|failed| {
        Problem::new(
            Kind::Command,
            format!("the credential_process of profile `{profile}` {failed}"),
            hint.clone(),
        )
    })?;
    parse(&printed).map_err(|wrong| {
        Problem::new(
            Kind::Command,
            format!("what the credential_process of profile `{profile}` prints {wrong}"),
            hint,
        )
    })
}

/// An RFC 3339 time.
pub(super) fn expiration(text: &str) -> Option<SystemTime> {
    DateTime::from_str(text, Format::DateTimeWithOffset).ok()?.try_into().ok()
}

/// Reads the printed JSON. The error names a field, never a value.
fn parse(printed: &[u8]) -> Result<Credentials, &'static str> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(printed) else {
        return Err("is not a JSON object");
    };
    let field =
        |name: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let text = |name: &str| field(name).and_then(Value::as_str);
    if field("Version").and_then(Value::as_i64) != Some(1) {
        return Err("has no `Version` of 1");
    }
    let expires = match field("Expiration") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            value.as_str().and_then(expiration).ok_or("has an `Expiration` that is not an RFC 3339 time")?,
        ),
    };
    Ok(Credentials::new(
        text("AccessKeyId").ok_or("has no `AccessKeyId`")?,
        text("SecretAccessKey").ok_or("has no `SecretAccessKey`")?,
        text("SessionToken").map(ToOwned::to_owned),
        expires,
        "CredentialProcess",
    ))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::parse;

    #[test]
    fn reads_offsets_and_any_case() {
        let given = parse(
            br#"{"version":1,"AccessKeyId":"AKIA","SecretAccessKey":"s","Expiration":"1970-01-01T01:00:05+01:00"}"#,
        )
        .unwrap();
        assert_eq!(given.expiry(), Some(UNIX_EPOCH + Duration::from_secs(5)));
        assert_eq!(given.session_token(), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (printed, missing) in [
            (r#"{"AccessKeyId":"a","SecretAccessKey":"s"}"#, "Version"),
            (r#"{"Version":1,"SecretAccessKey":"s"}"#, "AccessKeyId"),
            (r#"{"Version":1,"AccessKeyId":"a"}"#, "SecretAccessKey"),
            (r#"{"Version":1,"AccessKeyId":"a","SecretAccessKey":"s","Expiration":"soon"}"#, "Expiration"),
            ("hello", "JSON"),
        ] {
            assert!(parse(printed.as_bytes()).unwrap_err().contains(missing), "{printed}");
        }
    }
}
