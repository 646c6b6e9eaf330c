//! Which API and which stage: from a stack, from ids, from a URL, or from whatever the account has.

use super::{InitArgs, InitError, ask};
use crate::{
    aws::{Account, apigateway, apigatewayv2, cloudformation},
    config::StageUrl,
};

/// What API Gateway calls the stage of an HTTP API that has no path.
const NO_PATH: &str = "$default";

/// A stage that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub url: String,
    pub api: String,
    pub stage: String,
    /// Whether it is an HTTP API, once that is known.
    pub http: Option<bool>,
    /// As its owner calls the API.
    pub name: Option<String>,
    /// The keys of the stack that it is of.
    pub keys: Vec<String>,
}

/// API id, region and the path's first segment that a URL of API Gateway's own tells. The segment is the stage, or of a
/// route where the stage has no path.
pub(super) fn told(url: &str) -> Option<(String, Option<String>, Option<String>)> {
    let url: StageUrl = url.parse().ok()?;
    let mut labels = url.host.split('.');
    let id = labels.next()?;
    // `ID-vpce-…` is the API by an interface endpoint; `vpce-…` and `d-…` name no API.
    let id = id.split_once("-vpce-").map_or(id, |(id, _)| id);
    if labels.next() != Some("execute-api") || id.contains('-') {
        return None;
    }
    let region = labels.next().filter(|label| *label != "localhost").map(str::to_owned);
    let first = url.path.split('/').nth(1).filter(|first| !first.is_empty());
    Some((id.to_owned(), region, first.map(str::to_owned)))
}

/// The URL with the stage as its whole path, for a host of API Gateway's own.
fn of_stage(url: &str, stage: &str) -> String {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |path| host + path);
    match stage {
        NO_PATH => url[..end].to_owned(),
        stage => format!("{}/{stage}", &url[..end]),
    }
}

/// The one stage that the arguments mean.
pub(super) async fn place(args: &InitArgs, account: &Account) -> Result<Place, InitError> {
    let ask = !args.yes;
    if let Some(url) = &args.url {
        return by_url(args, account, url).await;
    }
    let found = match (&args.stack, &args.api_id) {
        (Some(stack), _) => of_stack(args, account, stack).await?,
        (None, Some(id)) => of_api(args, account, id).await?,
        (None, None) => everywhere(args, account).await?,
    };
    let region = account.region();
    let found = found.into_iter().map(|place| {
        let name = place.name.as_deref().map(|name| format!("  ({name})")).unwrap_or_default();
        (format!("{}{name}", place.url), place)
    });
    let one = ask::one_of("stage that fits", "--api-id ID --stage NAME", found.collect(), ask)?;
    one.ok_or_else(|| InitError::NoStage { region: region.to_owned() })
}

async fn by_url(args: &InitArgs, account: &Account, url: &str) -> Result<Place, InitError> {
    let told = told(url);
    let place = |api, stage, http, url| Place { url, api, stage, http, name: None, keys: Vec::new() };
    let (api, first) = match (told, &args.api_id) {
        (Some((_, _, first)), Some(id)) => (id.clone(), first),
        (Some((api, _, first)), None) => (api, first),
        // A custom domain's mapping decides which stage it is; the path need not say.
        (None, Some(id)) => {
            let stage = args.stage.clone().unwrap_or_else(|| NO_PATH.to_owned());
            return Ok(place(id.clone(), stage, None, url.to_owned()));
        }
        (None, None) => return Err(InitError::NoApi { url: url.to_owned() }),
    };
    let (http, _, stages) = stages(account, &api).await?;
    let stage = match (&args.stage, first) {
        (Some(named), _) => Some(named.clone()).filter(|named| stages.contains(named)),
        (None, Some(first)) => behind(&first, &stages),
        (None, None) if stages.iter().any(|stage| stage == NO_PATH) => Some(NO_PATH.to_owned()),
        (None, None) => {
            let all = stages.iter().map(|stage| (stage.clone(), stage.clone())).collect();
            ask::one_of("stage of the API", "--stage NAME", all, !args.yes)?
        }
    };
    let Some(stage) = stage else {
        let there = if stages.is_empty() { "none".to_owned() } else { stages.join(", ") };
        return Err(InitError::NoSuchStage { url: url.to_owned(), id: api, there });
    };
    // What stands below the stage is of a route, and the rules have it.
    let url = of_stage(url, &stage);
    Ok(place(api, stage, Some(http), url))
}

/// The stage that a path leads to by its first segment: the one of that name, or the one that has no path.
fn behind(first: &str, stages: &[String]) -> Option<String> {
    [first, NO_PATH].into_iter().find(|name| stages.iter().any(|stage| stage == name)).map(str::to_owned)
}

/// Whether the API of this id is an HTTP API, what its owner calls it, and the names of its stages.
async fn stages(account: &Account, id: &str) -> Result<(bool, String, Vec<String>), InitError> {
    if let Some(api) = apigateway::api(account, id).await? {
        Ok((false, api.name, apigateway::stages(account, id).await?))
    } else if let Some(api) = http_api(account, id).await? {
        Ok((true, api.name, apigatewayv2::stages(account, id).await?))
    } else {
        Err(InitError::NoSuchApi { id: id.to_owned(), region: account.region().to_owned() })
    }
}

async fn of_stack(args: &InitArgs, account: &Account, name: &str) -> Result<Vec<Place>, InitError> {
    let Some(stack) = cloudformation::stack(account, name).await? else {
        return Err(InitError::NoStack { name: name.to_owned(), region: account.region().to_owned() });
    };
    let resources = cloudformation::resources(account, name).await?;
    let of_kind = |kind: &'static str| {
        resources
            .iter()
            .filter(move |resource| resource.kind == kind)
            .filter_map(|one| one.physical_id.clone())
    };
    let keys: Vec<String> = of_kind("AWS::ApiGateway::ApiKey").collect();
    let mut found: Vec<Place> = Vec::new();
    for output in &stack.outputs {
        let Some((api, _, first)) = told(&output.value) else { continue };
        let (http, _, stages) = match stages(account, &api).await {
            // The URL may be of a WebSocket API's connections, or of an API that is gone.
            Err(InitError::Protocol { .. } | InitError::NoSuchApi { .. }) => continue,
            known => known?,
        };
        if let Some(stage) = behind(first.as_deref().unwrap_or(NO_PATH), &stages) {
            let (url, name) = (of_stage(&output.value, &stage), Some(output.key.clone()));
            found.push(Place { url, api, stage, http: Some(http), name, keys: Vec::new() });
        }
    }
    // A stack need not give out a URL.
    if found.is_empty() {
        let mut other = None;
        for id in of_kind("AWS::ApiGateway::RestApi").chain(of_kind("AWS::ApiGatewayV2::Api")) {
            match of_api(args, account, &id).await {
                // A WebSocket API may stand beside the one that is meant.
                Err(error @ InitError::Protocol { .. }) => other = Some(error),
                places => found.extend(places?),
            }
        }
        if let Some(error) = other.filter(|_| found.is_empty()) {
            return Err(error);
        }
    }
    let wanted = |value: &str, given: &Option<String>| given.as_deref().is_none_or(|given| given == value);
    found.retain(|place| wanted(&place.stage, &args.stage) && wanted(&place.api, &args.api_id));
    // Two outputs may lead to one stage: its URL, and that of a route of it.
    found.sort_by_key(|place| (place.api.clone(), place.stage.clone(), place.url.len()));
    found.dedup_by(|a, b| (&a.api, &a.stage) == (&b.api, &b.stage));
    for place in &mut found {
        place.keys.clone_from(&keys);
    }
    Ok(found)
}

async fn of_api(args: &InitArgs, account: &Account, id: &str) -> Result<Vec<Place>, InitError> {
    let (http, name, stages) = stages(account, id).await?;
    let stages = stages.into_iter().filter(|stage| args.stage.as_ref().is_none_or(|wanted| wanted == stage));
    Ok(stages.map(|stage| at(account, id, stage, http, &name)).collect())
}

/// The HTTP API of this id; a WebSocket API, which is of the same service, is an error.
async fn http_api(account: &Account, id: &str) -> Result<Option<apigatewayv2::Api>, InitError> {
    match apigatewayv2::api(account, id).await? {
        Some(api) if api.protocol != "HTTP" => {
            Err(InitError::Protocol { id: id.to_owned(), protocol: api.protocol })
        }
        api => Ok(api),
    }
}

async fn everywhere(args: &InitArgs, account: &Account) -> Result<Vec<Place>, InitError> {
    let mut found = Vec::new();
    let rest = apigateway::apis(account).await?.into_iter().map(|api| (api.id, api.name, false));
    let http = apigatewayv2::apis(account).await?.into_iter().filter(|api| api.protocol == "HTTP");
    for (id, name, is_http) in rest.chain(http.map(|api| (api.id, api.name, true))) {
        let stages = match is_http {
            false => apigateway::stages(account, &id).await?,
            true => apigatewayv2::stages(account, &id).await?,
        };
        let stages =
            stages.into_iter().filter(|stage| args.stage.as_ref().is_none_or(|wanted| wanted == stage));
        found.extend(stages.map(|stage| at(account, &id, stage, is_http, &name)));
    }
    Ok(found)
}

/// A stage at the name that API Gateway gives every API.
fn at(account: &Account, id: &str, stage: String, http: bool, name: &str) -> Place {
    let region = account.region();
    let suffix = match region {
        region if region.starts_with("cn-") => "amazonaws.com.cn",
        region if region.starts_with("eusc-") => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    let path = if stage == NO_PATH { String::new() } else { format!("/{stage}") };
    Place {
        url: format!("https://{id}.execute-api.{region}.{suffix}{path}"),
        api: id.to_owned(),
        stage,
        http: Some(http),
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        keys: Vec::new(),
    }
}

/// Whether it is an HTTP API.
pub(super) async fn is_http(account: &Account, place: &Place) -> Result<bool, InitError> {
    if let Some(known) = place.http {
        return Ok(known);
    }
    if apigateway::api(account, &place.api).await?.is_some() {
        return Ok(false);
    }
    match http_api(account, &place.api).await? {
        Some(_) => Ok(true),
        None => Err(InitError::NoSuchApi { id: place.api.clone(), region: account.region().to_owned() }),
    }
}

/// The key that opens the stage: of its stack, or of its usage plans.
pub(super) async fn key(
    args: &InitArgs,
    account: &Account,
    place: &Place,
) -> Result<Option<String>, InitError> {
    if let Some(id) = &args.api_key_id {
        return Ok(Some(id.clone()));
    }
    let mut keys: Vec<(String, String)> = place.keys.iter().map(|id| (id.clone(), id.clone())).collect();
    if keys.is_empty() {
        let stage = (place.api.clone(), place.stage.clone());
        for plan in apigateway::usage_plans(account).await? {
            if plan.stages.contains(&stage) {
                let of_plan = apigateway::usage_plan_keys(account, &plan.id).await?;
                let shown = |(id, name): (String, String)| (format!("{id}  ({name}, of {})", plan.name), id);
                keys.extend(of_plan.into_iter().map(shown));
            }
        }
        keys.dedup_by(|a, b| a.1 == b.1);
    }
    ask::one_of("API key that opens the stage", "--api-key-id ID", keys, !args.yes)
}

#[cfg(test)]
mod tests {
    use super::{NO_PATH, behind, of_stage, told};

    #[test]
    fn a_urls_host_tells_the_api_and_its_path_perhaps_the_stage() {
        let of = |url: &str| told(url);
        let all = |api: &str, region: Option<&str>, first: Option<&str>| {
            Some((api.to_owned(), region.map(str::to_owned), first.map(str::to_owned)))
        };
        assert_eq!(
            of("https://a1b2.execute-api.us-west-2.amazonaws.com/prod/"),
            all("a1b2", Some("us-west-2"), Some("prod"))
        );
        assert_eq!(
            of("https://a1b2-vpce-0f1e.execute-api.eu-central-1.amazonaws.com/x/y"),
            all("a1b2", Some("eu-central-1"), Some("x"))
        );
        assert_eq!(
            of("https://a1b2.execute-api.cn-north-1.amazonaws.com.cn"),
            all("a1b2", Some("cn-north-1"), None)
        );
        assert_eq!(of("http://a1b2.execute-api.localhost:4566/prod"), all("a1b2", None, Some("prod")));
        for other in [
            "https://api.example.com/prod",
            "https://d-a1b2.execute-api.us-west-2.amazonaws.com",
            "a stack's name",
            "https://abc.lambda-url.us-west-2.on.aws",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_stage_is_of_a_route_of_the_one_without_a_path() {
        let stages = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (there, stage) in [
            (&["orders", NO_PATH][..], Some("orders")),
            (&[NO_PATH, "beta"], Some(NO_PATH)),
            (&["prod"], None),
            (&[], None),
        ] {
            assert_eq!(behind("orders", &stages(there)).as_deref(), stage, "{there:?}");
        }
    }

    #[test]
    fn a_url_is_cut_to_its_stage() {
        let host = "https://a1b2.execute-api.us-west-2.amazonaws.com";
        for path in ["", "/", "/prod", "/prod/", "/prod/orders/7"] {
            assert_eq!(of_stage(&format!("{host}{path}"), "prod"), format!("{host}/prod"), "{path}");
            assert_eq!(of_stage(&format!("{host}{path}"), NO_PATH), host, "{path}");
        }
    }
}
