//! Requests against the guard, the routes and the rules: they go through the proxy's own steps, with made-up secrets, and
//! are not sent. Nobody is asked for anything.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, header};

use super::{
    CheckError,
    parse::Ask,
    report::{Finding, Report},
    without_secrets,
};
use crate::{
    config::Config,
    credentials::Sources,
    proxy::{self, Budget, Prepared, Shared},
};

pub(super) async fn all(config: Config, tries: &[Ask], report: &Report) -> Result<(), CheckError> {
    let config = Arc::new(without_secrets(config));
    let keys = config.stages.iter().filter_map(|stage| stage.api_key.as_ref());
    let sources = Sources::start([], keys)?;
    sources.hold_examples(config.stages.iter().map(|stage| &stage.credentials));
    let shared = Shared::new(&sources, &Budget::unprobed(&config)?, None);
    for ask in tries {
        report.add(one(&shared, ask).await?);
    }
    Ok(())
}

async fn one(shared: &Rc<Shared>, ask: &Ask) -> Result<Finding, CheckError> {
    let check = format!("{} {}", ask.method, ask.target);
    let prepared = proxy::prepare(shared, request(ask), None).await;
    Ok(match prepared.map_err(|error| CheckError::NotHttp(error.to_string()))? {
        Prepared::Ready(signed) => {
            let path = signed.target.split('?').next().unwrap_or_default();
            let what = format!(
                "passes to {} {}{path}, auth = \"{}\"",
                signed.stage,
                signed.base,
                signed.auth.as_str()
            );
            Finding::ok(&check, what)
        }
        Prepared::Refused(refused) => {
            Finding::fail(&check, format!("{}: {}", refused.code, refused.message)).fix(refused.hint)
        }
    })
}

/// As a client on this machine asks.
pub(super) fn request(ask: &Ask) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = ask.target.clone().into();
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    request
}
