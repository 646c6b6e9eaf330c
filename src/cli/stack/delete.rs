//! `countersign stack delete`: the stack goes, with everything in it.

use super::{
    DeleteArgs, StackError,
    deploy::failure,
    progress::say,
    render,
    session::{Rest, Session},
    status,
};
use crate::{
    aws::cloudformation::{self, Stack},
    cli::output::plain,
    telemetry::RequestId,
};

pub(super) async fn run(args: &DeleteArgs) -> Result<(), StackError> {
    let mut session = Session::start(&args.account, &args.name, true).await?;
    let region = session.account.region().to_owned();
    let found = session.find().await?.filter(|stack| !status::is_gone(&stack.status));
    let Some(stack) = found else { return render::deleted(args, &region, false) };
    let resources = session.resources(&stack.id).await?;
    let what = match resources {
        1 => format!("stack {} in {region} holds 1 resource", args.name),
        count => format!("stack {} in {region} holds {count} resources", args.name),
    };
    session.confirm(&what, "Delete it, with everything in it?", args.yes).await?;
    let rest = to_its_end(&mut session, &stack).await?;
    if status::is_gone(&rest.status) {
        return render::deleted(args, &region, true);
    }
    if args.json {
        render::failed(&args.name, &rest.status, &rest.failures, &region)?;
    }
    Err(failure(&session.account, &stack, &rest))
}

/// Asks for it, and watches until the stack is gone.
pub(super) async fn to_its_end(session: &mut Session, stack: &Stack) -> Result<Rest, StackError> {
    let last = session.newest_event(&stack.id).await?;
    let token = format!("countersign-{}", RequestId::next().as_str());
    session.touch(&stack.id);
    let asked = cloudformation::delete(&session.account, &stack.id, &token).await;
    session.answered(asked).await?;
    say(&format!("deleting {} in {}", plain(&stack.name), session.account.region()))?;
    session.watch(&stack.id, last, true).await
}
