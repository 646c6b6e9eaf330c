//! `countersign stack deploy`: the stack comes to what the template says, from whatever state it is in.

use std::fs;

use super::{
    DeployArgs, StackError,
    progress::{line, say},
    render,
    session::{Rest, Session},
    status,
};
use crate::{
    aws::{
        Account,
        cloudformation::{self, Stack, Template},
    },
    cli::output::plain,
    curl,
    telemetry::RequestId,
};

/// The three routes: an API key, a signature, both.
const BUILT_IN: &str = include_str!("../../../config/cloudformation.yaml");

pub(super) async fn run(args: &DeployArgs) -> Result<(), StackError> {
    let body = match &args.template {
        None => BUILT_IN.to_owned(),
        Some(path) => {
            fs::read_to_string(path).map_err(|source| StackError::Template { path: path.clone(), source })?
        }
    };
    let mut session = Session::start(&args.account, &args.name, true).await?;
    session.deployed_with(args.again());
    let mut found = session.find().await?.filter(|stack| !status::is_gone(&stack.status));
    if let Some(stack) = found.as_ref().filter(|stack| status::moves(&stack.status)) {
        say(&format!("{} is {} already; watching it to its end", args.name, plain(&stack.status)))?;
        session.touch(&stack.id);
        let id = stack.id.clone();
        let last = session.newest_event(&id).await?;
        found = session.watch(&id, last, false).await?.stack;
    }
    if let Some(stack) = found.take_if(|stack| status::only_deletes(&stack.status)) {
        replace(&mut session, args, &stack).await?;
    }
    let token = format!("countersign-{}", RequestId::next().as_str());
    let template = Template {
        body: &body,
        capabilities: &args.capabilities,
        parameters: &args.parameters,
        token: &token,
    };
    let (rest, changed) = match found {
        Some(stack) if stack.status != "REVIEW_IN_PROGRESS" => update(&mut session, &stack, template).await?,
        _ => (create(&mut session, &args.name, template).await?, true),
    };
    let region = session.account.region().to_owned();
    let Some(stack) = &rest.stack else {
        return Err(StackError::NoStack { name: args.name.clone(), region });
    };
    if status::is_right(&rest.status) {
        render::deployed(args, stack, &region, changed)?;
        let has_stage = stack.outputs.iter().any(|output| output.value.contains(".execute-api."));
        if has_stage && !args.json {
            let name = curl::word(args.name.as_bytes());
            say(&format!("next: countersign init --stack {name}{}", args.account.again()))?;
        }
        return Ok(());
    }
    if args.json {
        render::failed(&args.name, &rest.status, &rest.failures, &region)?;
    }
    Err(failure(&session.account, stack, &rest))
}

/// A stack that was never whole takes no update: it goes first.
async fn replace(session: &mut Session, args: &DeployArgs, stack: &Stack) -> Result<(), StackError> {
    let what = format!(
        "{} is {}: it takes no update, and has to be deleted before it is made anew",
        args.name,
        plain(&stack.status)
    );
    session.confirm(&what, "Delete it, with whatever is left in it?", args.yes).await?;
    let rest = super::delete::to_its_end(session, stack).await?;
    if status::is_gone(&rest.status) {
        return Ok(());
    }
    if args.json {
        render::failed(&args.name, &rest.status, &rest.failures, session.account.region())?;
    }
    Err(failure(&session.account, stack, &rest))
}

async fn create(session: &mut Session, name: &str, template: Template<'_>) -> Result<Rest, StackError> {
    // Not to be broken off: who stops here is to know whether there is a stack.
    session.touch(name);
    let asked = cloudformation::create(&session.account, name, template).await;
    let id = session.answered(asked).await?;
    session.touch(&id);
    say(&format!("creating {name} in {}", session.account.region()))?;
    if let Some(console) = render::console(&session.account, &id) {
        say(&console)?;
    }
    session.watch(&id, None, true).await
}

async fn update(
    session: &mut Session,
    stack: &Stack,
    template: Template<'_>,
) -> Result<(Rest, bool), StackError> {
    let last = session.newest_event(&stack.id).await?;
    session.touch(&stack.id);
    let asked = cloudformation::update(&session.account, &stack.name, template).await;
    if !session.answered(asked).await? {
        // Without a change the state before it stays, which may tell of an update that was rolled back.
        let status = match stack.status.as_str() {
            "UPDATE_ROLLBACK_COMPLETE" => "UPDATE_COMPLETE",
            other => other,
        };
        let rest = Rest { status: status.to_owned(), stack: Some(stack.clone()), failures: Vec::new() };
        return Ok((rest, false));
    }
    say(&format!("updating {} in {}", stack.name, session.account.region()))?;
    if let Some(console) = render::console(&session.account, &stack.id) {
        say(&console)?;
    }
    Ok((session.watch(&stack.id, last, true).await?, true))
}

/// CloudFormation gave up: which resources failed, and why.
pub(super) fn failure(account: &Account, stack: &Stack, rest: &Rest) -> StackError {
    // What was only cancelled because of another says nothing.
    let own = rest
        .failures
        .iter()
        .filter(|event| !event.reason.as_deref().is_some_and(|reason| reason.contains("cancelled")));
    let mut reasons: Vec<String> = own.map(|event| format!("  {}", line(event))).collect();
    if reasons.is_empty() {
        let reason = rest.stack.as_ref().and_then(|stack| stack.reason.as_deref().map(plain));
        reasons.push(format!("  {}", reason.unwrap_or_else(|| "CloudFormation gives no reason".to_owned())));
    }
    let mut hint = match rest.status.as_str() {
        "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED" => {
            "mend what failed and deploy again: what is left of the stack is then replaced".to_owned()
        }
        "UPDATE_ROLLBACK_COMPLETE" => {
            "the stack is as it was before; mend what failed and deploy again".to_owned()
        }
        "UPDATE_ROLLBACK_FAILED" => {
            "have CloudFormation go on with the rollback: aws cloudformation continue-update-rollback"
                .to_owned()
        }
        "DELETE_FAILED" => "empty or remove what is named above, then delete again".to_owned(),
        _ => "look at the stack's events".to_owned(),
    };
    if let Some(console) = render::console(account, &stack.id) {
        hint.push_str(&format!("\n{console}"));
    }
    StackError::Failed {
        name: plain(&stack.name),
        status: plain(&rest.status),
        reasons: reasons.join("\n"),
        hint,
    }
}
