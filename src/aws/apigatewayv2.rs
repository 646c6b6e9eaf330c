//! API Gateway's HTTP APIs: their routes and stages.

use aws_sdk_apigatewayv2::Client;

use super::{Account, Problem};

/// An HTTP API, or a WebSocket API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// The id in its host name.
    pub id: String,
    /// As its owner calls it.
    pub name: String,
    /// `HTTP` or `WEBSOCKET`.
    pub protocol: String,
    /// `https://ID.execute-api.REGION.amazonaws.com`
    pub endpoint: Option<String>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `GET /orders/{id}`, `ANY /{proxy+}`, `$default`.
    pub key: String,
    /// `NONE`, `AWS_IAM`, `JWT`, `CUSTOM`.
    pub authorization: String,
}

impl Api {
    fn new(told: aws_sdk_apigatewayv2::types::Api) -> Self {
        Self {
            id: told.api_id.unwrap_or_default(),
            name: told.name.unwrap_or_default(),
            protocol: told.protocol_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            endpoint: told.api_endpoint,
        }
    }
}

/// `GetApi`; `None` when there is none of this id among the HTTP APIs.
///
/// # Errors
/// The call failed.
pub async fn api(account: &Account, id: &str) -> Result<Option<Api>, Problem> {
    match Client::new(&account.config).get_api().api_id(id).send().await {
        Ok(told) => Ok(Some(Api {
            id: told.api_id.unwrap_or_default(),
            name: told.name.unwrap_or_default(),
            protocol: told.protocol_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            endpoint: told.api_endpoint,
        })),
        Err(error) => match Problem::new(account, "apigatewayv2", "GetApi", &error) {
            problem if problem.cause() == super::Cause::NotFound => Ok(None),
            problem => Err(problem),
        },
    }
}

/// `GetApis`, all of them.
///
/// # Errors
/// The call failed.
pub async fn apis(account: &Account) -> Result<Vec<Api>, Problem> {
    let client = Client::new(&account.config);
    let (mut apis, mut next) = (Vec::new(), None);
    loop {
        let asked = client.get_apis().set_next_token(next).send().await;
        let told = asked.map_err(|error| Problem::new(account, "apigatewayv2", "GetApis", &error))?;
        apis.extend(told.items.unwrap_or_default().into_iter().map(Api::new));
        next = told.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(apis);
        }
    }
}

/// `GetRoutes`, all of them.
///
/// # Errors
/// The call failed.
pub async fn routes(account: &Account, api: &str) -> Result<Vec<Route>, Problem> {
    let client = Client::new(&account.config);
    let (mut routes, mut next) = (Vec::new(), None);
    loop {
        let asked = client.get_routes().api_id(api).set_next_token(next).send().await;
        let told = asked.map_err(|error| Problem::new(account, "apigatewayv2", "GetRoutes", &error))?;
        routes.extend(told.items.unwrap_or_default().into_iter().map(|route| Route {
            key: route.route_key.unwrap_or_default(),
            authorization:
                route.authorization_type.map_or_else(|| "NONE".to_owned(), |kind| kind.as_str().to_owned()),
        }));
        next = told.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(routes);
        }
    }
}

/// `GetStages`: their names; `$default` has no path.
///
/// # Errors
/// The call failed.
pub async fn stages(account: &Account, api: &str) -> Result<Vec<String>, Problem> {
    let client = Client::new(&account.config);
    let (mut stages, mut next) = (Vec::new(), None);
    loop {
        let asked = client.get_stages().api_id(api).set_next_token(next).send().await;
        let told = asked.map_err(|error| Problem::new(account, "apigatewayv2", "GetStages", &error))?;
        stages.extend(told.items.unwrap_or_default().into_iter().filter_map(|stage| stage.stage_name));
        next = told.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(stages);
        }
    }
}
