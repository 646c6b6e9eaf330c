//! An API's methods become the rules of a stage: a path, perhaps some of its methods, and what the gateway asks for
//! there. Pure.
//!
//! Where all methods of a path want the same, one rule has them; methods are named only where they differ, or where an
//! HTTP API would have another route answer those that the path has not. The gateway picks the most specific resource,
//! the proxy the first rule that matches; hence the order.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    aws::{apigateway, apigatewayv2},
    config::Auth,
};

/// A path, and what is asked for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub path: String,
    /// None is every method.
    pub methods: Vec<String>,
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
    of(wants.collect(), false)
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
    of(wants.collect(), true)
}

/// With `goes_on`, a method that a path has not is for a less specific path that has it: a full match of path and method
/// comes first, then one with a greedy variable, then `$default` (API Gateway developer guide, "Routing API requests").
/// A REST API refuses it.
fn of(mut wants: Vec<Wants<'_>>, goes_on: bool) -> (Vec<Rule>, Vec<String>) {
    wants.sort_by(|a, b| shape(a.path).cmp(&shape(b.path)).then((a.method, a.path).cmp(&(b.method, b.path))));
    let by_path: Vec<_> = wants.chunk_by(|a, b| shape(a.path) == shape(b.path)).map(Asked::new).collect();
    let mut rules = Vec::new();
    for (at, asked) in by_path.iter().enumerate() {
        let others = by_path[at + 1..].iter().filter(|other| goes_on && overlap(other.path, asked.path));
        rules.extend(asked.rules(&others.collect::<Vec<_>>()));
    }
    (rules, wants.iter().filter_map(|method| method.note(&wants)).collect())
}

impl Wants<'_> {
    fn is_signed(&self) -> bool {
        self.authorization == "AWS_IAM"
    }

    /// What a person should know of it.
    fn note(&self, all: &[Wants<'_>]) -> Option<String> {
        let Wants { method, path, authorization, .. } = self;
        if ["AWS_IAM", "NONE"].contains(authorization) {
            return None;
        }
        // Routes of an HTTP API may differ in the names of their variables alone.
        let same = |other: &&Wants<'_>| other.method == *method && shape(other.path) == shape(path);
        Some(match all.iter().filter(same).any(Wants::is_signed) {
            false => {
                format!("{method} {path} is authorized by {authorization}: the caller sends its token itself")
            }
            true => format!(
                "{method} {path} is authorized by {authorization}, and another route of this path by IAM: what is asked for \
                 there is signed, so the caller's own Authorization does not arrive"
            ),
        })
    }
}

/// What the methods of a path ask for.
struct Asked<'a> {
    path: &'a str,
    methods: BTreeMap<&'a str, Auth>,
}

impl<'a> Asked<'a> {
    fn new(wants: &[Wants<'a>]) -> Self {
        let mut methods = BTreeMap::new();
        for of_one in wants.chunk_by(|a, b| a.method == b.method) {
            let signed = of_one.iter().any(Wants::is_signed);
            let keyed = of_one.iter().any(|method| method.key);
            // What a browser asks before a request is answered whatever comes with it, and makes no second rule.
            let is_preflight =
                of_one.iter().all(|one| (one.method, one.authorization) == ("OPTIONS", "NONE"));
            if is_preflight && !keyed && wants.len() > of_one.len() {
                continue;
            }
            let auth = match (signed, keyed) {
                (true, true) => Auth::IamAndApiKey,
                (true, false) => Auth::Iam,
                (false, true) => Auth::ApiKey,
                (false, false) => Auth::None,
            };
            methods.insert(of_one[0].method, auth);
        }
        Self { path: wants[0].path, methods }
    }

    /// Its rules, the one for any method last. `others` have the methods that it has not.
    fn rules(&self, others: &[&Self]) -> Vec<Rule> {
        let rule = |methods: Vec<String>, auth| Rule { path: self.path.to_owned(), methods, auth };
        let any = self.methods.get("ANY").copied();
        let mut by_auth: BTreeMap<&str, (Auth, Vec<String>)> = BTreeMap::new();
        for (method, auth) in self.methods.iter().filter(|(_, auth)| any != Some(**auth)) {
            by_auth.entry(auth.as_str()).or_insert((*auth, Vec::new())).1.push((*method).to_owned());
        }
        if let Some(auth) = any {
            let named = by_auth.into_values().map(|(auth, methods)| rule(methods, auth));
            return named.chain([rule(Vec::new(), auth)]).collect();
        }
        let of_others: BTreeSet<&str> =
            others.iter().flat_map(|other| other.methods.values()).map(|auth| auth.as_str()).collect();
        let alone = by_auth.len() == 1 && of_others.iter().all(|auth| by_auth.contains_key(auth));
        let named = by_auth.into_values();
        named.map(|(auth, methods)| rule(if alone { Vec::new() } else { methods }, auth)).collect()
    }
}

/// Whether some path is both of these.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (shape(one), shape(other));
    let (fixed, rest) = open(&one);
    let (other_fixed, other_rest) = open(&other);
    let is_everything = |fixed: &[_], rest| rest && fixed.is_empty();
    let fit = |((kind, text), (other, written)): (&(u8, &str), &(u8, &str))| {
        *kind > 0 || *other > 0 || text == written
    };
    is_everything(fixed, rest)
        || is_everything(other_fixed, other_rest)
        || match fixed.len().cmp(&other_fixed.len()) {
            Ordering::Less => rest,
            Ordering::Equal => rest == other_rest,
            Ordering::Greater => other_rest,
        } && fixed.iter().zip(other_fixed).all(fit)
}

/// The segments before a greedy one, and whether there is one.
fn open<'a, 'b>(shape: &'a [(u8, &'b str)]) -> (&'a [(u8, &'b str)], bool) {
    match shape.split_last() {
        Some(((2.., _), before)) => (before, true),
        _ => (shape, false),
    }
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
    use super::{Rule, of_http, of_rest, overlap};
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

    fn route(key: &str, authorization: &str) -> Route {
        Route { key: key.to_owned(), authorization: authorization.to_owned() }
    }

    /// As `GET|POST /path`, and what is asked for there.
    fn rules(rules: &[Rule]) -> Vec<(String, Auth)> {
        let shown = |rule: &Rule| match rule.methods.as_slice() {
            [] => rule.path.clone(),
            methods => format!("{} {}", methods.join("|"), rule.path),
        };
        rules.iter().map(|rule| (shown(rule), rule.auth)).collect()
    }

    fn expected<const N: usize>(rules: [(&str, Auth); N]) -> Vec<(String, Auth)> {
        rules.into_iter().map(|(what, auth)| (what.to_owned(), auth)).collect()
    }

    #[test]
    fn one_rule_has_what_all_methods_of_a_path_want_and_the_specific_comes_first() {
        let (made, notes) = of_rest(&[
            method("ANY", "/{proxy+}", "NONE", false),
            method("GET", "/orders/{id}", "AWS_IAM", false),
            method("PUT", "/orders/{id}", "AWS_IAM", false),
            method("OPTIONS", "/orders/{id}", "NONE", false),
            method("GET", "/orders/{id}/{part+}", "NONE", true),
            method("POST", "/orders/new", "AWS_IAM", true),
            method("GET", "/", "NONE", false),
            method("OPTIONS", "/alone", "NONE", false),
        ]);
        let expected = expected([
            ("/", Auth::None),
            ("/alone", Auth::None),
            ("/orders/new", Auth::IamAndApiKey),
            ("/orders/{id}", Auth::Iam),
            ("/orders/{id}/{part+}", Auth::ApiKey),
            ("/{proxy+}", Auth::None),
        ]);
        assert_eq!((rules(&made), notes.len()), (expected, 0));
    }

    #[test]
    fn methods_that_want_something_else_have_rules_of_their_own_and_any_comes_last() {
        let (made, notes) = of_rest(&[
            method("GET", "/a", "NONE", true),
            method("PUT", "/a", "AWS_IAM", true),
            method("POST", "/a", "AWS_IAM", true),
            method("OPTIONS", "/a", "NONE", false),
            method("ANY", "/b", "AWS_IAM", false),
            method("GET", "/b", "NONE", false),
            method("PUT", "/b", "AWS_IAM", false),
            // Keyed, it is more than what a browser asks.
            method("OPTIONS", "/c", "NONE", true),
            method("GET", "/c", "NONE", false),
        ]);
        let expected = expected([
            ("GET /a", Auth::ApiKey),
            ("POST|PUT /a", Auth::IamAndApiKey),
            ("GET /b", Auth::None),
            ("/b", Auth::Iam),
            ("OPTIONS /c", Auth::ApiKey),
            ("GET /c", Auth::None),
        ]);
        assert_eq!((rules(&made), notes.len()), (expected, 0));
    }

    #[test]
    fn other_authorizers_are_told() {
        let (made, notes) = of_rest(&[
            method("GET", "/me", "COGNITO_USER_POOLS", true),
            method("GET", "/mixed", "AWS_IAM", false),
            method("PUT", "/mixed", "CUSTOM", false),
        ]);
        let of_own = expected([("/me", Auth::ApiKey), ("GET /mixed", Auth::Iam), ("PUT /mixed", Auth::None)]);
        assert_eq!(rules(&made), of_own);
        assert!(notes[0].starts_with("GET /me is authorized by COGNITO_USER_POOLS: the caller"), "{notes:?}");
        assert!(notes[1].starts_with("PUT /mixed is authorized by CUSTOM: the caller"), "{notes:?}");

        // One rule for what the gateway may take for either.
        let (made, notes) = of_http(&[route("GET /a/{x}", "AWS_IAM"), route("GET /a/{y}", "JWT")]);
        assert_eq!(rules(&made), expected([("/a/{x}", Auth::Iam)]));
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert!(note.starts_with("GET /a/{y} is") && note.contains("does not arrive"), "{note}");
    }

    #[test]
    fn an_http_apis_default_route_is_the_last_rule() {
        let (made, _) = of_http(&[route("$default", "NONE"), route("GET /a/{id}", "AWS_IAM")]);
        assert_eq!(rules(&made), expected([("GET /a/{id}", Auth::Iam), ("/*", Auth::None)]));
        let (made, _) = of_http(&[route("$default", "NONE"), route("ANY /{proxy+}", "AWS_IAM")]);
        assert_eq!(rules(&made), expected([("/{proxy+}", Auth::Iam), ("/*", Auth::None)]));
    }

    /// What a path has not is answered by one that is less specific, where that has it.
    #[test]
    fn methods_of_an_http_api_go_on_to_other_routes() {
        let (made, _) = of_http(&[
            route("GET /a/b", "AWS_IAM"),
            route("GET /a/{id}", "AWS_IAM"),
            route("POST /a/{id}", "NONE"),
            route("GET /b", "AWS_IAM"),
            route("GET /c/{id}", "NONE"),
            route("POST /c/{rest+}", "NONE"),
            route("DELETE /d/{rest+}", "AWS_IAM"),
        ]);
        let expected = expected([
            ("GET /a/b", Auth::Iam),
            ("GET /a/{id}", Auth::Iam),
            ("POST /a/{id}", Auth::None),
            ("/b", Auth::Iam),
            ("/c/{id}", Auth::None),
            ("/c/{rest+}", Auth::None),
            ("/d/{rest+}", Auth::Iam),
        ]);
        assert_eq!(rules(&made), expected);
    }

    #[test]
    fn which_paths_overlap() {
        for (one, other, both) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a/{x}", "/{y}/b", true),
            ("/a/{x}", "/a", false),
            ("/a/{x+}", "/a", false),
            ("/a/{x+}", "/a/b/c", true),
            ("/a/{x+}", "/b/{y+}", false),
            ("/a/{x+}", "/{y}/b/c", true),
            ("/{x+}", "/", true),
            ("/*", "/a/b", true),
        ] {
            assert_eq!((overlap(one, other), overlap(other, one)), (both, both), "{one} {other}");
        }
    }

    #[test]
    fn what_a_variable_is_called_makes_no_other_path() {
        let (made, notes) = of_http(&[
            route("GET /orders/{id}", "NONE"),
            route("POST /orders/{orderId}", "AWS_IAM"),
            route("PUT /orders/{order}", "JWT"),
            route("GET /orders/{id}/{rest+}", "NONE"),
            route("GET /orders/{order}/parts", "NONE"),
            route("PUT /orders/{order}/{part+}", "AWS_IAM"),
        ]);
        let expected = expected([
            ("POST /orders/{id}", Auth::Iam),
            ("GET|PUT /orders/{id}", Auth::None),
            ("GET /orders/{order}/parts", Auth::None),
            ("PUT /orders/{id}/{rest+}", Auth::Iam),
            ("GET /orders/{id}/{rest+}", Auth::None),
        ]);
        assert_eq!(rules(&made), expected);
        assert!(matches!(&notes[..], [note] if note.starts_with("PUT /orders/{order} is")), "{notes:?}");
    }
}
