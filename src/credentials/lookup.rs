//! An API key that AWS keeps: in API Gateway itself, in Secrets Manager or in the Parameter Store.
//!
//! It is asked for with the credentials that the stage's requests are signed with, as they are held: no source is asked
//! a second time for it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    account,
    current::Current,
    environment::Environment,
    problem::{Kind, Problem},
    source::Source,
};
use crate::{
    aws::{self, Account, Cause, apigateway, secretsmanager, ssm},
    config::{KeptIn, Lookup},
    secret::Secret,
};

/// How long credentials are waited for. They have a wait of their own, for a service that does not answer.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(30);

/// Asks for one key.
#[derive(Debug)]
pub(super) struct Asker {
    lookup: Lookup,
    current: Arc<Current>,
    environment: Environment,
    http: SharedHttpClient,
}

impl Asker {
    pub fn new(
        lookup: Lookup,
        current: Arc<Current>,
        environment: Environment,
        http: SharedHttpClient,
    ) -> Self {
        Self { lookup, current, environment, http }
    }

    /// Where the key comes from, for messages.
    pub fn whence(&self) -> String {
        format!("the {}", self.lookup.place)
    }

    /// Asks once.
    ///
    /// # Errors
    /// There are no credentials, the call failed, or what came is no key. Nothing of it is repeated.
    pub async fn ask(&self) -> Result<Secret, Problem> {
        let account = self.account().await?;
        match &self.lookup.place {
            KeptIn::ApiGateway(id) => {
                let key = apigateway::api_key(&account, id).await.map_err(|problem| self.failed(&problem))?;
                if !key.enabled {
                    return Err(Problem::new(
                        Kind::Refused,
                        format!(
                            "the API key {id} ({}) is disabled, and opens nothing",
                            aws::plain(&key.name)
                        ),
                        format!(
                            "enable it: aws apigateway update-api-key --api-key {id} --patch-operations op=replace,path=/enabled,value=true"
                        ),
                    ));
                }
                Ok(key.value)
            }
            KeptIn::SecretsManager(name, part) => {
                let text =
                    secretsmanager::value(&account, name).await.map_err(|problem| self.failed(&problem))?;
                match part {
                    Some(part) => of_object(&text, name, part),
                    None => Ok(text),
                }
            }
            KeptIn::ParameterStore(name) => {
                ssm::parameter(&account, name).await.map_err(|problem| self.failed(&problem))
            }
        }
    }

    async fn account(&self) -> Result<Account, Problem> {
        let wanted = &self.lookup.credentials;
        let unexpired = |expires: Option<SystemTime>| expires.is_none_or(|at| at > SystemTime::now());
        let held = self.current.wait_usable(|held| unexpired(held.expires), CREDENTIALS_LIMIT).await;
        let Some(held) = held else {
            let why = self.current.problem();
            let why = why.as_ref().map_or("they did not come in time", |problem| problem.message());
            let hint = self.current.problem().map_or_else(
                || "it is tried again by itself".to_owned(),
                |problem| problem.hint().to_owned(),
            );
            return Err(Problem::new(
                Kind::Nothing,
                format!("{} cannot be looked up without AWS credentials: {why}", self.whence()),
                hint,
            ));
        };
        let region = match &self.lookup.region {
            Some(region) => region.clone(),
            // Asks nobody: profile and environment are read.
            None => {
                let mut source = Source::new(
                    wanted.clone(),
                    self.environment.clone(),
                    self.http.clone(),
                    Arc::clone(&self.current.witness),
                );
                source.region_told().await?.unwrap_or_else(|| wanted.fallback_region.clone())
            }
        };
        Ok(account::of_identity(wanted, &held, region, self.http.clone()).await)
    }

    fn failed(&self, problem: &aws::Problem) -> Problem {
        let kind = match problem.cause() {
            Cause::Denied => Kind::Denied,
            Cause::Credentials => Kind::Refused,
            Cause::Unreachable => Kind::Unreachable,
            _ => Kind::Service,
        };
        // Its id differs each time, and would be a new line of log each time.
        let message = problem.message();
        let message = message.split(" (request ").next().unwrap_or(message);
        Problem::new(
            kind,
            format!("{} cannot be had: {message}", self.whence()),
            format!("{}; it is tried again by itself", problem.hint()),
        )
    }
}

/// The part of a secret that is a JSON object.
fn of_object(text: &Secret, name: &str, part: &str) -> Result<Secret, Problem> {
    let wrong = |what: String| {
        let hint = format!(
            "write \"{name}\" alone if the whole secret is the key, else \"{name}#\" and one of its JSON object's names"
        );
        Problem::new(Kind::Malformed, what, hint)
    };
    let Ok(Value::Object(object)) = serde_json::from_str(text.expose()) else {
        return Err(wrong(format!("secret {name} is no JSON object, so that there is no {part} in it")));
    };
    let mut object = object;
    match object.remove(part) {
        Some(Value::String(value)) => {
            let value = Zeroizing::new(value);
            Ok(Secret::new(value.as_str()))
        }
        Some(_) => Err(wrong(format!("{part} in secret {name} is not a text"))),
        None => Err(wrong(format!("there is no {part} in secret {name}"))),
    }
}
