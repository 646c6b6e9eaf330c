//! What a stage's requests carry: credentials, whose they are and what IAM lets them call; the API key.

use std::time::Duration;

use tokio::time;

use super::{
    Lines,
    report::{Finding, Report},
};
use crate::{
    aws::{self, Account, Cause, iam::Decision, sts::Caller},
    cli::{greeting, policy},
    config::{ApiKey, Credentials, Stage},
    credentials::{self, CurrentKey},
};

/// For what a source, or AWS, is asked.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn look(lines: &Lines<'_>, report: &Report) {
    let Lines { stage, sources, .. } = *lines;
    if stage.signs() {
        report.add(Finding::ok("region", format!("signed for {} in {}", stage.service, stage.region)));
        let current = sources.current(&stage.credentials);
        // One that takes longer is told as such.
        let _in_time = time::timeout(PATIENCE, current.first_attempt()).await;
        let (held, problem) = (current.load(), current.problem());
        let is_held = match (&*held, &problem) {
            (Some(identity), problem) => {
                let now = current.now();
                let id = &identity.access_key_id;
                let text = format!(
                    "…{} from {}, {}",
                    id.get(id.len().saturating_sub(4)..).unwrap_or_default(),
                    identity.source,
                    greeting::lasting(identity.expires, now)
                );
                let is_over = identity.expires.is_some_and(|expires| expires <= now);
                let fix = problem.as_ref().map_or("log in again", |problem| problem.hint());
                report.add(match (is_over, problem) {
                    (true, _) => Finding::fail("credentials", text).fix(fix),
                    (false, Some(problem)) => {
                        Finding::warn("credentials", format!("{text}; {}", problem.message())).fix(fix)
                    }
                    (false, None) => Finding::ok("credentials", text),
                });
                !is_over
            }
            (None, Some(problem)) => {
                report.add(Finding::fail("credentials", problem.message()).fix(problem.hint()));
                false
            }
            (None, None) => {
                let finding = Finding::fail("credentials", "their source has not answered yet");
                report.add(finding.fix("give it more time, or look at what it waits for"));
                false
            }
        };
        if is_held {
            whose(&stage.credentials, stage, report).await;
        }
    }
    if let Some(from) = &stage.api_key {
        report.add(key("api key", from, &sources.api_key(from)));
    }
}

/// The API key or the token: whether it is there.
pub(super) fn key(check: &str, from: &ApiKey, key: &CurrentKey) -> Finding {
    let source = greeting::from(from);
    match (key.load().is_some(), key.problem()) {
        (true, None) => Finding::ok(check, format!("present, from {source}")),
        (true, Some(problem)) => {
            Finding::warn(check, format!("present, and no newer one: {}", problem.message()))
                .fix(problem.hint())
        }
        (false, Some(problem)) => Finding::fail(check, problem.message()).fix(problem.hint()),
        (false, None) => {
            let finding = Finding::fail(check, format!("{source} has not ended yet"));
            finding.fix("see how long it takes by itself")
        }
    }
}

/// Asks STS whose the credentials are, and IAM what they may call.
async fn whose(wanted: &Credentials, stage: &Stage, report: &Report) {
    let asked = time::timeout(PATIENCE, async {
        let account = credentials::account(wanted, Some(&stage.region)).await.map_err(|problem| {
            Finding::warn("identity", format!("cannot be asked for: {}", problem.message()))
                .fix(problem.hint())
        })?;
        let caller = aws::sts::caller(&account).await.map_err(|problem| match problem.cause() {
            // Signed requests would be refused as well.
            Cause::Credentials => Finding::fail("identity", problem.message()).fix(problem.hint()),
            // Where STS cannot be reached, gateways may be.
            _ => Finding::warn("identity", problem.message()).fix(problem.hint()),
        })?;
        Ok::<_, Finding>((account, caller))
    });
    let (account, caller) = match asked.await {
        Ok(Ok(known)) => known,
        Ok(Err(finding)) => return report.add(finding),
        Err(_) => {
            let finding = Finding::warn("identity", "STS does not answer in time");
            return report
                .add(finding.fix("requests need no STS; a private network may have an endpoint of its own"));
        }
    };
    report.add(Finding::ok("identity", caller.arn.clone()));
    let simulated = time::timeout(PATIENCE, simulated(&account, &caller, stage)).await;
    let late = |_| Some(Finding::ok("iam", "not asked: IAM does not answer in time"));
    simulated.unwrap_or_else(late).into_iter().for_each(|finding| report.add(finding));
}

/// What IAM would say. None where there is nothing to ask. That it cannot be asked is no failure: the probes tell.
async fn simulated(account: &Account, caller: &Caller, stage: &Stage) -> Option<Finding> {
    let principal = principal(&caller.arn)?;
    // A rule without methods is looked at for one of them.
    let needed: Vec<_> = policy::needed(stage, &caller.account)
        .into_iter()
        .map(|arn| arn.replacen("/*/", "/GET/", 1))
        .collect();
    if needed.is_empty() {
        return None;
    }
    let ask = async |principal: &str| {
        aws::iam::simulate(account, principal, "execute-api:Invoke", &needed, None).await
    };
    let mut said = ask(&principal).await;
    if let (Err(problem), Some((_, name))) = (&said, principal.split_once(":role/"))
        && problem.cause() == Cause::NotFound
        && caller.arn.contains(":assumed-role/")
    {
        // A role with a path, as those of IAM Identity Center are: a session's ARN does not tell it.
        said = match aws::iam::role_arn(account, name).await {
            Ok(arn) => ask(&arn).await,
            Err(problem) => Err(problem),
        };
    }
    let verdicts = match said {
        Ok(verdicts) => verdicts,
        Err(problem) if problem.cause() == Cause::Denied => {
            return Some(Finding::ok("iam", "not asked: these credentials may not have a policy simulated"));
        }
        Err(problem) => return Some(Finding::ok("iam", format!("not asked: {}", problem.message()))),
    };
    let not: Vec<_> = verdicts.iter().filter(|verdict| verdict.decision != Decision::Allowed).collect();
    let Some(first) = not.first() else {
        return Some(Finding::ok("iam", "identity policies allow execute-api:Invoke for what is configured"));
    };
    let more = match not.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let finding = Finding::warn("iam", format!("identity policies do not allow {}{more}", first.resource));
    Some(finding.fix("`countersign policy` writes what has to be allowed; the API's own resource policy may allow it instead"))
}

/// The principal whose policies decide: of a session its role. `arn:aws:sts::111122223333:assumed-role/NAME/SESSION`
/// becomes `arn:aws:iam::111122223333:role/NAME`; a role's path cannot be told from that, and one with a path is not found
/// so.
fn principal(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, service, _, account, resource] = parts[..] else { return None };
    match (service, resource.split_once('/')) {
        ("iam", Some(("user" | "role", _))) => Some(arn.to_owned()),
        ("sts", Some(("assumed-role", rest))) => {
            Some(format!("arn:{partition}:iam::{account}:role/{}", rest.split('/').next()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::principal;

    #[test]
    fn whose_policies_decide() {
        for (arn, expected) in [
            ("arn:aws:iam::111122223333:user/team/ann", Some("arn:aws:iam::111122223333:user/team/ann")),
            (
                "arn:aws-cn:sts::111122223333:assumed-role/orders/me@x",
                Some("arn:aws-cn:iam::111122223333:role/orders"),
            ),
            ("arn:aws:iam::111122223333:root", None),
            ("arn:aws:sts::111122223333:federated-user/ann", None),
            ("nothing", None),
        ] {
            assert_eq!(principal(arn).as_deref(), expected, "{arn}");
        }
    }
}
