//! An API's methods become the rules of a stage: a path, and what the gateway asks for there. Pure.
//!
//! A rule is for a path, and an API's methods differ by method too. So a path gets whatever one of its methods wants: a
//! method that wants neither key nor signature takes no offence at them. The gateway picks the most specific resource,
//! the proxy the first rule that matches; hence the order.

use crate::{
    aws::{apigateway, apigatewayv2},
    config::Auth,
};

/// A path, and what is asked for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub path: String,
    pub auth: Auth,
}

/// What one method wants.
struct Wants<'a> {
    path: &'a str,
    method: &'a str,
    /// `AWS_IAM`, `NONE`, or who else decides.
    authorization: &'a str,
    key: bool,
}

/// The rules of a REST API, and what a person should know of them.
pub(super) fn of_rest(methods: &[apigateway::Method]) -> (Vec<Rule>, Vec<String>) {
    let wants = methods.iter().map(|method| Wants {
        path: &method.path,
        method: &method.method,
        authorization: &method.authorization,
        key: method.key_required,
    });
    of(wants.collect())
}

/// The rules of an HTTP API, which knows no keys.
pub(super) fn of_http(routes: &[apigatewayv2::Route]) -> (Vec<Rule>, Vec<String>) {
    let wants = routes.iter().filter_map(|route| {
        let (method, path) = match route.key.as_str() {
            "$default" => ("ANY", "/*"),
            key => key.split_once(' ')?,
        };
        Some(Wants { path, method, authorization: &route.authorization, key: false })
    });
    of(wants.collect())
}

fn of(mut wants: Vec<Wants<'_>>) -> (Vec<Rule>, Vec<String>) {
    wants.sort_by(|a, b| shape(a.path).cmp(&shape(b.path)).then((a.method, a.path).cmp(&(b.method, b.path))));
    let mut notes = Vec::new();
    let rules = wants.chunk_by(|a, b| shape(a.path) == shape(b.path)).map(|methods| {
        let path = methods[0].path;
        let signed = methods.iter().any(|method| method.authorization == "AWS_IAM");
        let keyed = methods.iter().any(|method| method.key);
        for method in methods.iter().filter(|method| !["AWS_IAM", "NONE"].contains(&method.authorization)) {
            let Wants { method, path, authorization, .. } = method;
            notes.push(match signed {
                false => format!("{method} {path} is authorized by {authorization}: the caller sends its token itself"),
                true => format!(
                    "{method} {path} is authorized by {authorization}, and another method of this path by IAM: the path is \
                     signed, so the caller's own Authorization does not arrive"
                ),
            });
        }
        let auth = match (signed, keyed) {
            (true, true) => Auth::IamAndApiKey,
            (true, false) => Auth::Iam,
            (false, true) => Auth::ApiKey,
            (false, false) => Auth::None,
        };
        Rule { path: path.to_owned(), auth }
    });
    (rules.collect(), notes)
}

/// Segment by segment: what is written out, then `{id}`, then `{proxy+}`, then whatever is left. Names of variables match
/// nothing: routes of an HTTP API may differ in them and be of one path.
fn shape(path: &str) -> Vec<(u8, &str)> {
    let kind = |segment| match segment {
        "*" => (3, ""),
        greedy if greedy.starts_with('{') && greedy.ends_with("+}") => (2, ""),
        one if one.starts_with('{') => (1, ""),
        written => (0, written),
    };
    path.split('/').skip(1).map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::{Rule, of_http, of_rest};
    use crate::{
        aws::{apigateway::Method, apigatewayv2::Route},
        config::Auth,
    };

    fn method(method: &str, path: &str, authorization: &str, key: bool) -> Method {
        Method {
            path: path.to_owned(),
            method: method.to_owned(),
            authorization: authorization.to_owned(),
            authorizer: None,
            key_required: key,
        }
    }

    fn rules(rules: &[Rule]) -> Vec<(&str, Auth)> {
        rules.iter().map(|rule| (rule.path.as_str(), rule.auth)).collect()
    }

    #[test]
    fn a_path_gets_what_any_of_its_methods_wants_and_the_specific_comes_first() {
        let (made, notes) = of_rest(&[
            method("ANY", "/{proxy+}", "NONE", false),
            method("GET", "/orders/{id}", "AWS_IAM", false),
            method("OPTIONS", "/orders/{id}", "NONE", false),
            method("GET", "/orders/{id}/{part+}", "NONE", true),
            method("POST", "/orders/new", "AWS_IAM", true),
            method("GET", "/", "NONE", false),
        ]);
        let expected = [
            ("/", Auth::None),
            ("/orders/new", Auth::IamAndApiKey),
            ("/orders/{id}", Auth::Iam),
            ("/orders/{id}/{part+}", Auth::ApiKey),
            ("/{proxy+}", Auth::None),
        ];
        assert_eq!((rules(&made), notes.len()), (expected.to_vec(), 0));
    }

    #[test]
    fn other_authorizers_are_told() {
        let (made, notes) = of_rest(&[
            method("GET", "/me", "COGNITO_USER_POOLS", true),
            method("GET", "/mixed", "AWS_IAM", false),
            method("PUT", "/mixed", "CUSTOM", false),
        ]);
        assert_eq!(rules(&made), [("/me", Auth::ApiKey), ("/mixed", Auth::Iam)]);
        assert!(notes[0].starts_with("GET /me is authorized by COGNITO_USER_POOLS: the caller"), "{notes:?}");
        assert!(notes[1].contains("PUT /mixed") && notes[1].contains("does not arrive"), "{notes:?}");
    }

    #[test]
    fn an_http_apis_default_route_is_the_last_rule() {
        let route = |key: &str, authorization: &str| Route {
            key: key.to_owned(),
            authorization: authorization.to_owned(),
        };
        let (made, _) = of_http(&[route("$default", "NONE"), route("GET /a/{id}", "AWS_IAM")]);
        assert_eq!(rules(&made), [("/a/{id}", Auth::Iam), ("/*", Auth::None)]);
        let (made, _) = of_http(&[route("$default", "NONE"), route("ANY /{proxy+}", "AWS_IAM")]);
        assert_eq!(rules(&made), [("/{proxy+}", Auth::Iam), ("/*", Auth::None)]);
    }

    #[test]
    fn what_a_variable_is_called_makes_no_other_path() {
        let route = |key: &str, authorization: &str| Route {
            key: key.to_owned(),
            authorization: authorization.to_owned(),
        };
        let (made, notes) = of_http(&[
            route("GET /orders/{id}", "NONE"),
            route("POST /orders/{orderId}", "AWS_IAM"),
            route("PUT /orders/{order}", "JWT"),
            route("GET /orders/{id}/{rest+}", "NONE"),
            route("GET /orders/{order}/parts", "NONE"),
            route("PUT /orders/{order}/{part+}", "AWS_IAM"),
        ]);
        let expected = [
            ("/orders/{id}", Auth::Iam),
            ("/orders/{order}/parts", Auth::None),
            ("/orders/{id}/{rest+}", Auth::Iam),
        ];
        assert_eq!(rules(&made), expected);
        assert!(matches!(&notes[..], [note] if note.starts_with("PUT /orders/{order} is")), "{notes:?}");
    }
}
