//! What is printed at the end, on standard output: for people, or as one JSON document.

use std::io::{self, IsTerminal as _};

use miette::Diagnostic as _;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{DeleteArgs, DeployArgs, OutputsArgs, StackError};
use crate::{
    aws::{
        Account,
        cloudformation::{Event, Output, Stack},
    },
    cli::output::{self, Paint, Tone, plain},
};

/// A stack as JSON has it.
#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    region: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failure<'a>>,
}

#[derive(Serialize)]
struct Failure<'a> {
    resource: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    status: &'a str,
    reason: Option<&'a str>,
}

/// What came of `deploy`.
pub(super) fn deployed(
    args: &DeployArgs,
    stack: &Stack,
    region: &str,
    changed: bool,
) -> Result<(), StackError> {
    if args.json {
        return Ok(output::json(&document(stack, region, Some(changed)))?);
    }
    let paint = Paint::new(output::in_colour());
    let state = match (changed, stack.status.as_str()) {
        (false, _) => "is already what the template says",
        (true, "CREATE_COMPLETE") => "is made",
        (true, _) => "is updated",
    };
    let mut text = format!("{} {state}, in {region}\n", paint.tone(Tone::Good, &plain(&stack.name)));
    text.push_str(&outputs_of(stack, paint));
    Ok(output::print(&text)?)
}

/// What `outputs` was asked for.
pub(super) fn outputs(args: &OutputsArgs, stack: &Stack, region: &str) -> Result<(), StackError> {
    if args.json {
        return Ok(output::json(&document(stack, region, None))?);
    }
    let Some(key) = &args.key else {
        let paint = Paint::new(output::in_colour());
        let mut text = format!(
            "{} is {}, in {region}\n",
            paint.tone(Tone::Strong, &plain(&stack.name)),
            plain(&stack.status)
        );
        text.push_str(&outputs_of(stack, paint));
        return Ok(output::print(&text)?);
    };
    match stack.output(key) {
        // A script gets it as it is.
        Some(value) if io::stdout().is_terminal() => Ok(output::print(&format!("{}\n", plain(value)))?),
        Some(value) => Ok(output::print(&format!("{value}\n"))?),
        None => {
            let there: Vec<String> = stack.outputs.iter().map(|output| plain(&output.key)).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Err(StackError::NoOutput { name: args.name.clone(), key: key.clone(), there })
        }
    }
}

/// What came of `delete`.
pub(super) fn deleted(args: &DeleteArgs, region: &str, changed: bool) -> Result<(), StackError> {
    if args.json {
        return Ok(output::json(&Document {
            name: &args.name,
            id: None,
            region,
            status: "DELETE_COMPLETE",
            changed: Some(changed),
            outputs: None,
            failed: Vec::new(),
        })?);
    }
    let paint = Paint::new(output::in_colour());
    Ok(output::print(&match changed {
        true => format!("{} is deleted, in {region}\n", paint.tone(Tone::Good, &args.name)),
        false => format!("there is no stack {} in {region}\n", args.name),
    })?)
}

/// What scripts are told of a stack that failed; people are told by the error.
pub(super) fn failed(name: &str, status: &str, failures: &[Event], region: &str) -> Result<(), StackError> {
    let failed = failures.iter().map(|event| Failure {
        resource: &event.logical_id,
        kind: &event.kind,
        status: &event.status,
        reason: event.reason.as_deref(),
    });
    Ok(output::json(&Document {
        name,
        id: None,
        region,
        status,
        changed: None,
        outputs: None,
        failed: failed.collect(),
    })?)
}

/// What scripts are told of any other failure.
pub(super) fn error(error: &StackError) -> io::Result<()> {
    let mut document = output::failure(error);
    match error {
        StackError::Lost { said, .. } => {
            let help = error.help().map(|hint| hint.to_string()).unwrap_or_default();
            document["error"]["hint"] = format!("{help}\n{}", said.trim()).into();
        }
        StackError::Stopped { said, .. } => document["error"]["message"] = said.trim().into(),
        _ => {}
    }
    output::json(&document)
}

/// Where AWS's console shows it; an emulator has none.
pub(super) fn console(account: &Account, id: &str) -> Option<String> {
    let id = plain(id).replace(':', "%3A").replace('/', "%2F");
    let region = account.region();
    let console = account.console()?;
    Some(format!("{console}/cloudformation/home?region={region}#/stacks/stackinfo?stackId={id}"))
}

fn document<'a>(stack: &'a Stack, region: &'a str, changed: Option<bool>) -> Document<'a> {
    let outputs = stack.outputs.iter().map(|output| (output.key.clone(), output.value.clone().into()));
    Document {
        name: &stack.name,
        id: Some(&stack.id),
        region,
        status: &stack.status,
        changed,
        outputs: Some(outputs.collect()),
        failed: Vec::new(),
    }
}

fn outputs_of(stack: &Stack, paint: Paint) -> String {
    let mut outputs: Vec<&Output> = stack.outputs.iter().collect();
    outputs.sort_by(|a, b| a.key.cmp(&b.key));
    let width = outputs.iter().map(|output| output.key.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for output in outputs {
        let key = format!("{:width$}", plain(&output.key));
        text.push_str(&format!("  {}  {}\n", key, paint.tone(Tone::Strong, &plain(&output.value))));
        if let Some(about) = &output.description {
            text.push_str(&format!("  {:width$}  {}\n", "", paint.tone(Tone::Faint, &plain(about))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_config::{Region, SdkConfig};
    use miette::Diagnostic as _;

    use super::{console, outputs, outputs_of};
    use crate::{
        aws::{
            Account,
            cloudformation::{Output, Stack},
        },
        cli::{
            output::Paint,
            stack::{AccountArgs, OutputsArgs, deploy::failure, session::Rest},
        },
    };

    fn account(region: &'static str, endpoint: Option<&str>) -> Account {
        let config = SdkConfig::builder().region(Region::new(region));
        let config = match endpoint {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        Account::new(config.build(), String::new())
    }

    #[test]
    fn the_console_is_that_of_the_partition_and_emulators_have_none() {
        let id = "arn:aws:cloudformation:us-west-2:111122223333:stack/A/5";
        let link = "https://us-west-2.console.aws.amazon.com/cloudformation/home?region=us-west-2#/stacks/stackinfo?stackId=\
                    arn%3Aaws%3Acloudformation%3Aus-west-2%3A111122223333%3Astack%2FA%2F5";
        assert_eq!(console(&account("us-west-2", None), id).as_deref(), Some(link));
        for (region, domain) in [
            ("cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
            ("us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/"),
        ] {
            assert!(
                console(&account(region, None), id).is_some_and(|link| link.starts_with(domain)),
                "{region}"
            );
        }
        assert_eq!(console(&account("us-west-2", Some("http://127.0.0.1:1")), id), None);
    }

    #[test]
    fn what_a_stack_says_of_itself_does_not_move_the_cursor() {
        let text = "\x1b[2J\r\n$ curl evil\u{9b}31m".to_owned();
        let output = Output { key: text.clone(), value: text.clone(), description: Some(text.clone()) };
        let stack = Stack {
            id: String::new(),
            name: text.clone(),
            status: text.clone(),
            reason: None,
            outputs: vec![output],
        };
        let shown = outputs_of(&stack, Paint::new(false));
        assert_eq!(shown.lines().count(), 2, "{shown:?}");
        assert!(!shown.contains(['\x1b', '\r', '\u{9b}']), "{shown:?}");

        let args = OutputsArgs {
            key: Some("Url".to_owned()),
            name: "A".to_owned(),
            json: false,
            account: AccountArgs::default(),
        };
        let rest = Rest { status: text, stack: None, failures: Vec::new() };
        for error in [
            outputs(&args, &stack, "us-west-2").unwrap_err(),
            failure(&account("us-west-2", None), &stack, &rest),
        ] {
            let help = error.help().expect("what to do").to_string();
            let shown = format!("{error}{help}").replace('\n', "");
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }
}
