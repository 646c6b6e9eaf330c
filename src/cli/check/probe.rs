//! Each route is asked by GET with what it asks for, and with less, which it has to refuse. A route with variables is asked
//! for where a path is named (`--probe`), since which one is harmless only its owner knows.
//!
//! What is less is asked for first: nothing of that carries both key and signature.

use http::{Method, Response, uri::PathAndQuery};

use super::{
    CheckError, Lines,
    parse::Ask,
    report::{Finding, Report},
    tries::request,
};
use crate::{
    cli::{
        asked::below,
        request::{Refusal, beginning, diagnosed, texts},
    },
    config::{Auth, Config, Stage},
    proxy::{self, Came, Refused},
};

/// Every route of a stage, and what was named.
pub(super) async fn all(lines: &Lines<'_>, named: &[Ask], report: &Report) -> Result<(), CheckError> {
    let (mut asks, mut passed) = (Vec::new(), Vec::new());
    for route in &lines.stage.routes {
        let is_plain = !route.path.contains(['*', '{']) && route.takes("GET");
        if is_plain && proxy::is_lent(lines.stage, &Method::GET, &route.path).is_ok() {
            let mount = lines.stage.mount.trim_end_matches('/');
            if let Ok(target) = PathAndQuery::try_from(format!("{mount}{}", route.path)) {
                let ask = Ask { method: Method::GET, target };
                // Of a path with several rules it is the first that takes it.
                if !asks.contains(&ask) {
                    asks.push(ask);
                }
                continue;
            }
        }
        passed.push(route.to_string());
    }
    asks.extend(named.iter().filter(|ask| serves(lines, ask)).cloned());
    asks.dedup();
    for ask in &asks {
        let below = below(lines.stage, ask.target.path()).unwrap_or_default();
        report.add(one(lines, ask, proxy::auth_of(lines.stage, ask.method.as_str(), below)).await?);
    }
    if asks.is_empty() || !passed.is_empty() {
        let which = if passed.is_empty() { "no route is named".to_owned() } else { passed.join(", ") };
        let what = format!("not asked: {which}; --probe \"GET /some/path\" has one asked");
        report.add(Finding::ok("routes", what));
    }
    Ok(())
}

/// Whether this stage is the one that the request is for.
fn serves(lines: &Lines<'_>, ask: &Ask) -> bool {
    served_by(lines.config, ask).is_some_and(|stage| stage.name == lines.stage.name)
}

/// The stage that a request is for: its mount is the longest.
fn served_by<'a>(config: &'a Config, ask: &Ask) -> Option<&'a Stage> {
    let path = ask.target.path();
    let fitting = config.stages.iter().filter(|stage| below(stage, path).is_some());
    fitting.max_by_key(|stage| stage.mount.len())
}

/// What was named and is for no stage.
pub(super) fn for_no_stage(config: &Config, named: &[Ask], report: &Report) {
    for ask in named.iter().filter(|ask| served_by(config, ask).is_none()) {
        let mounts: Vec<_> = config.stages.iter().map(|stage| stage.mount.as_str()).collect();
        let finding = Finding::fail(&format!("{} {}", ask.method, ask.target.path()), "no stage serves it");
        report.add(finding.fix(format!("ask below a stage's mount: {}", mounts.join(", "))));
    }
}

/// What a route that asks for this has to refuse.
const fn less(auth: Auth) -> &'static [Auth] {
    match auth {
        Auth::None => &[],
        Auth::ApiKey | Auth::Iam => &[Auth::None],
        Auth::IamAndApiKey => &[Auth::None, Auth::ApiKey, Auth::Iam],
    }
}

const fn named(auth: Auth) -> &'static str {
    match auth {
        Auth::None => "nothing",
        Auth::ApiKey => "the API key alone",
        Auth::Iam => "the signature alone",
        Auth::IamAndApiKey => "signature and API key",
    }
}

async fn one(lines: &Lines<'_>, ask: &Ask, auth: Auth) -> Result<Finding, CheckError> {
    let check = format!("{} {}", ask.method, ask.target.path());
    let mut let_in = Vec::new();
    for less in less(auth) {
        // That there is no answer is told by the one with everything.
        if let Ok(answer) = sent(lines, ask, *less).await? {
            let status = answer.status().as_u16();
            if !is_refusal(status) && status != 429 && status < 500 {
                let_in.push(named(*less));
            }
        }
    }
    let answer = match sent(lines, ask, auth).await? {
        Ok(answer) => answer,
        Err(refused) => {
            return Ok(
                Finding::fail(&check, format!("{}: {}", refused.code, refused.message)).fix(refused.hint)
            );
        }
    };
    let status = answer.status().as_u16();
    let with = format!("{status} with {}", named(auth).trim_end_matches(" alone"));
    if is_refusal(status) {
        return refused(lines, ask, auth, &answer, &check).await;
    }
    if status >= 500 {
        return Ok(
            Finding::fail(&check, with).fix("the stage lets it in, and its backend fails: look at its logs")
        );
    }
    if !let_in.is_empty() {
        let what = format!("{with}, and let in with {} as well", let_in.join(", with "));
        let fix =
            "have the API ask for it (AWS_IAM, ApiKeyRequired), or say what it asks for in the route's auth";
        return Ok(Finding::warn(&check, what).fix(fix));
    }
    let without = if auth == Auth::None { "" } else { ", refused with less" };
    Ok(if status == 429 {
        Finding::warn(&check, with).fix("the stage's limit of calls, or its quota, is reached")
    } else {
        Finding::ok(&check, format!("{with}{without}"))
    })
}

/// Why a route does not take what it asks for.
async fn refused(
    lines: &Lines<'_>,
    ask: &Ask,
    auth: Auth,
    answer: &Response<Vec<u8>>,
    check: &str,
) -> Result<Finding, CheckError> {
    let status = answer.status().as_u16();
    let seen = Refusal { status, headers: texts(answer.headers()), body: answer.body() };
    let prepared = proxy::prepare(&lines.with(Some(auth))?, request(ask), None).await;
    let prepared = prepared.map_err(|error| CheckError::NotHttp(error.to_string()))?;
    let with = format!("{status} with {}", named(auth).trim_end_matches(" alone"));
    Ok(match diagnosed(&seen, &prepared) {
        Some(diagnosis) => {
            // No policy is shown here, and more than one request may need one.
            let diagnosis = diagnosis.without_policy();
            let finding = Finding::fail(check, format!("{with}: {}", diagnosis.title));
            diagnosis.steps.first().cloned().into_iter().fold(finding, Finding::fix)
        }
        None => Finding::fail(check, with)
            .fix("the refusal is none of API Gateway's that are known: the backend's own, perhaps"),
    })
}

const fn is_refusal(status: u16) -> bool {
    matches!(status, 401 | 403)
}

async fn sent(
    lines: &Lines<'_>,
    ask: &Ask,
    auth: Auth,
) -> Result<Result<Response<Vec<u8>>, Refused>, CheckError> {
    let line = lines.with(Some(auth))?;
    let came = proxy::send(&line, request(ask), async |came| match came {
        Came::Refused(refused) => Ok(Err(refused)),
        Came::Answer(answer) => beginning(answer).await.map(Ok),
    });
    let broken = |error: hyper::Error| CheckError::NotHttp(error.to_string());
    came.await.map_err(broken)?.or_else(|error| {
        Ok(Err(Refused {
            code: "cut".to_owned(),
            message: format!("the answer broke off: {error}"),
            hint: "look at the stage's logs; what it sends has to come whole".to_owned(),
        }))
    })
}
