//! API Gateway's REST APIs: methods with their authorization, stages, authorizers, usage plans and keys.

use aws_sdk_apigateway::{Client, types};

use super::{Account, Problem};
use crate::secret::Secret;

/// Most that one page may hold (API Gateway API reference, `limit`).
const PAGE: i32 = 500;

/// A REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// The id in its host name.
    pub id: String,
    /// As its owner calls it.
    pub name: String,
    /// Its resource policy, where it has one: JSON.
    pub policy: Option<String>,
}

/// A method of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// `/orders/{id}`, `/{proxy+}`
    pub path: String,
    /// `GET`, `ANY`
    pub method: String,
    /// `NONE`, `AWS_IAM`, `CUSTOM`, `COGNITO_USER_POOLS`.
    pub authorization: String,
    /// The authorizer that decides, for the last two.
    pub authorizer: Option<String>,
    /// Whether an API key is wanted too.
    pub key_required: bool,
}

/// An authorizer: a Lambda function, or a Cognito user pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorizer {
    /// What methods call it by.
    pub id: String,
    /// As its owner calls it.
    pub name: String,
    /// `method.request.header.Authorization`
    pub identity_source: Option<String>,
}

/// An API key. Its value is a secret.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// What it is found by; no secret.
    pub id: String,
    /// As its owner calls it.
    pub name: String,
    /// Whether it opens anything.
    pub enabled: bool,
    /// What goes into `x-api-key`.
    pub value: Secret,
}

/// A usage plan: which keys open which stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePlan {
    /// Its id.
    pub id: String,
    /// As its owner calls it.
    pub name: String,
    /// API id and stage name of each of its stages.
    pub stages: Vec<(String, String)>,
}

impl Api {
    fn new(told: types::RestApi) -> Self {
        Self { id: told.id.unwrap_or_default(), name: told.name.unwrap_or_default(), policy: told.policy }
    }
}

/// `GetApiKey` with its value.
///
/// # Errors
/// The call failed, or gave no value.
pub async fn api_key(account: &Account, id: &str) -> Result<ApiKey, Problem> {
    let asked = Client::new(&account.config).get_api_key().api_key(id).include_value(true).send().await;
    let told = asked.map_err(|error| problem(account, "GET", "GetApiKey", &error))?;
    let value = told.value.filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| Problem::incomplete("apigateway", "GetApiKey", "a value"))?;
    Ok(ApiKey {
        id: told.id.unwrap_or_else(|| id.to_owned()),
        name: told.name.unwrap_or_default(),
        enabled: told.enabled,
        value: Secret::new(value),
    })
}

/// `GetRestApi`; `None` when there is none of this id among the REST APIs.
///
/// # Errors
/// The call failed.
pub async fn api(account: &Account, id: &str) -> Result<Option<Api>, Problem> {
    match Client::new(&account.config).get_rest_api().rest_api_id(id).send().await {
        Ok(told) => Ok(Some(Api {
            id: told.id.unwrap_or_default(),
            name: told.name.unwrap_or_default(),
            policy: told.policy,
        })),
        Err(error) => match problem(account, "GET", "GetRestApi", &error) {
            problem if problem.cause() == super::Cause::NotFound => Ok(None),
            problem => Err(problem),
        },
    }
}

/// `GetRestApis`, all of them.
///
/// # Errors
/// The call failed.
pub async fn apis(account: &Account) -> Result<Vec<Api>, Problem> {
    let client = Client::new(&account.config);
    let (mut apis, mut position) = (Vec::new(), None);
    loop {
        let asked = client.get_rest_apis().limit(PAGE).set_position(position).send().await;
        let told = asked.map_err(|error| problem(account, "GET", "GetRestApis", &error))?;
        apis.extend(told.items.unwrap_or_default().into_iter().map(Api::new));
        position = told.position.filter(|position| !position.is_empty());
        if position.is_none() {
            return Ok(apis);
        }
    }
}

/// `GetResources` with their methods: every method of the API, sorted by path and method.
///
/// # Errors
/// The call failed.
pub async fn methods(account: &Account, api: &str) -> Result<Vec<Method>, Problem> {
    let client = Client::new(&account.config);
    let (mut methods, mut position) = (Vec::new(), None);
    loop {
        let asked =
            client.get_resources().rest_api_id(api).embed("methods").limit(PAGE).set_position(position);
        let told = asked.send().await.map_err(|error| problem(account, "GET", "GetResources", &error))?;
        for resource in told.items.unwrap_or_default() {
            let path = resource.path.unwrap_or_default();
            for (name, method) in resource.resource_methods.unwrap_or_default() {
                methods.push(Method {
                    path: path.clone(),
                    method: method.http_method.unwrap_or(name),
                    authorization: method.authorization_type.unwrap_or_else(|| "NONE".to_owned()),
                    authorizer: method.authorizer_id.filter(|id| !id.is_empty()),
                    key_required: method.api_key_required.unwrap_or_default(),
                });
            }
        }
        position = told.position.filter(|position| !position.is_empty());
        if position.is_none() {
            methods.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
            return Ok(methods);
        }
    }
}

/// `GetStages`: their names.
///
/// # Errors
/// The call failed.
pub async fn stages(account: &Account, api: &str) -> Result<Vec<String>, Problem> {
    let asked = Client::new(&account.config).get_stages().rest_api_id(api).send().await;
    let told = asked.map_err(|error| problem(account, "GET", "GetStages", &error))?;
    Ok(told.item.unwrap_or_default().into_iter().filter_map(|stage| stage.stage_name).collect())
}

/// `GetAuthorizers`, all of them.
///
/// # Errors
/// The call failed.
pub async fn authorizers(account: &Account, api: &str) -> Result<Vec<Authorizer>, Problem> {
    let client = Client::new(&account.config);
    let (mut authorizers, mut position) = (Vec::new(), None);
    loop {
        let asked = client.get_authorizers().rest_api_id(api).limit(PAGE).set_position(position).send().await;
        let told = asked.map_err(|error| problem(account, "GET", "GetAuthorizers", &error))?;
        authorizers.extend(told.items.unwrap_or_default().into_iter().map(|authorizer| Authorizer {
            id: authorizer.id.unwrap_or_default(),
            name: authorizer.name.unwrap_or_default(),
            identity_source: authorizer.identity_source,
        }));
        position = told.position.filter(|position| !position.is_empty());
        if position.is_none() {
            return Ok(authorizers);
        }
    }
}

/// `GetUsagePlans`, all of them.
///
/// # Errors
/// The call failed.
pub async fn usage_plans(account: &Account) -> Result<Vec<UsagePlan>, Problem> {
    let client = Client::new(&account.config);
    let (mut plans, mut position) = (Vec::new(), None);
    loop {
        let asked = client.get_usage_plans().limit(PAGE).set_position(position).send().await;
        let told = asked.map_err(|error| problem(account, "GET", "GetUsagePlans", &error))?;
        plans.extend(told.items.unwrap_or_default().into_iter().map(|plan| {
            UsagePlan {
                id: plan.id.unwrap_or_default(),
                name: plan.name.unwrap_or_default(),
                stages: plan
                    .api_stages
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|stage| Some((stage.api_id?, stage.stage?)))
                    .collect(),
            }
        }));
        position = told.position.filter(|position| !position.is_empty());
        if position.is_none() {
            return Ok(plans);
        }
    }
}

/// `GetUsagePlanKeys`: id and name of each key of a usage plan; their values are left where they are.
///
/// # Errors
/// The call failed.
pub async fn usage_plan_keys(account: &Account, plan: &str) -> Result<Vec<(String, String)>, Problem> {
    let client = Client::new(&account.config);
    let (mut keys, mut position) = (Vec::new(), None);
    loop {
        let asked =
            client.get_usage_plan_keys().usage_plan_id(plan).limit(PAGE).set_position(position).send().await;
        let told = asked.map_err(|error| problem(account, "GET", "GetUsagePlanKeys", &error))?;
        let items = told.items.unwrap_or_default().into_iter();
        keys.extend(items.filter_map(|key| Some((key.id?, key.name.unwrap_or_default()))));
        position = told.position.filter(|position| !position.is_empty());
        if position.is_none() {
            return Ok(keys);
        }
    }
}

/// IAM knows API Gateway's calls by HTTP method: `apigateway:GET` (Service Authorization Reference).
fn problem<E>(
    account: &Account,
    method: &str,
    operation: &str,
    error: &aws_smithy_runtime_api::client::result::SdkError<E, aws_smithy_runtime_api::http::Response>,
) -> Problem
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
{
    Problem::with_action(account, "apigateway", operation, &format!("apigateway:{method}"), error)
}
