//! A third-party gateway agrees: ministack deploys the stack of `config/cloudformation.yaml` with users and a role, and
//! verifies signatures, policies and API keys; the real proxy stands in front.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};

use crate::support::{
    client::{Answer, Ask, Via},
    ministack::{Ministack, Stack, User},
    process::{Countersign, Launch},
};

const KEYED: &str = "/auth/api-key";
const SIGNED: &str = "/auth/iam-sigv4";
const BOTH: &str = "/auth/iam-sigv4-and-api-key";

struct Scene {
    ministack: Ministack,
    stack: Stack,
}

impl Scene {
    /// The proxy in front of the stage, as `user` and with `api_key`; `more` is added to the stage's settings.
    fn proxy(&self, user: &User, api_key: &str, more: &str) -> Countersign {
        let config = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\nurl = \"{}\"\nregion = \"{}\"\n\
             service = \"execute-api\"\nconnect_to = \"{}\"\napi_key = {{ env = \"ORDERS_API_KEY\" }}\n{more}",
            self.stack.url,
            self.stack.region,
            self.ministack.address(),
        );
        Launch::config(&config)
            .keys(&user.access_key, &user.secret)
            .variable("ORDERS_API_KEY", api_key)
            .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", self.ministack.address()))
            .start()
    }

    /// What the gateway itself answers, asked without the proxy; signed as `user` by AWS's own signer, if there is one.
    fn direct(&self, route: &str, user: Option<&User>, api_key: Option<&str>) -> Answer {
        let target = format!("/prod{route}");
        let host = self.stack.url.trim_start_matches("http://").trim_end_matches("/prod");
        let mut ask = Ask::new("GET", &target).header("host", host);
        if let Some(key) = api_key {
            ask = ask.header("x-api-key", key);
        }
        if let Some(user) = user {
            let identity = Credentials::new(&user.access_key, &user.secret, None, None, "test").into();
            let params = v4::SigningParams::builder()
                .identity(&identity)
                .region(&self.stack.region)
                .name("execute-api")
                .time(SystemTime::now())
                .settings(SigningSettings::default())
                .build()
                .expect("every parameter is set")
                .into();
            let text = |value| std::str::from_utf8(value).expect("these headers are ASCII");
            let headers: Vec<_> =
                ask.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
            let body = SignableBody::Bytes(b"");
            let request =
                SignableRequest::new("GET", format!("http://{host}{target}"), headers.into_iter(), body);
            let request = request.expect("the request is a plain one");
            let (added, _) = sign(request, &params).expect("a plain request can be signed").into_parts();
            for (name, value) in added.headers() {
                ask = ask.header(name, value);
            }
        }
        Via::Http1.exchange(self.ministack.address(), &ask).expect("the gateway answers")
    }
}

fn through(proxy: &Countersign, via: Via, target: &str) -> Answer {
    via.exchange(proxy.address(), &Ask::new("GET", target)).expect("the proxy answers")
}

/// The gateway's refusal, unchanged: what the client sees through the proxy is what the gateway says without it.
fn passed_on(through: &Answer, direct: &Answer) {
    assert_eq!(through.head.one("x-countersign-error"), None);
    assert_eq!((through.status, through.text()), (direct.status, direct.text()));
    for name in ["content-type", "x-amzn-errortype"] {
        assert_eq!(through.head.one(name), direct.head.one(name), "{name}");
    }
}

#[test]
fn the_deployed_stack_answers_through_the_proxy_only() {
    let ministack = Ministack::start();
    let stack = ministack.deploy();
    let scene = Scene { ministack, stack };
    plain_requests_are_refused(&scene);
    who_may_is_let_in(&scene);
    who_may_not_is_told_so_in_the_gateways_words(&scene);
    a_role_is_assumed(&scene);
}

fn plain_requests_are_refused(scene: &Scene) {
    for (route, kind, text) in [
        (KEYED, None, r#"{"message":"Forbidden"}"#),
        (
            SIGNED,
            Some("MissingAuthenticationTokenException"),
            r#"{"message":"Missing Authentication Token"}"#,
        ),
        (BOTH, Some("MissingAuthenticationTokenException"), r#"{"message":"Missing Authentication Token"}"#),
    ] {
        let refused = scene.direct(route, None, None);
        let kind_told = refused.head.one("x-amzn-errortype");
        assert_eq!((refused.status, kind_told, refused.text()), (403, kind, text), "{route}");
    }
}

fn who_may_is_let_in(scene: &Scene) {
    let proxy = scene.proxy(&scene.stack.caller, &scene.stack.api_key, "");
    for via in Via::ALL {
        for route in [KEYED, SIGNED, BOTH] {
            let answered = through(&proxy, via, route);
            assert_eq!(
                (answered.status, answered.json()["message"].as_str()),
                (200, Some("success")),
                "{route}"
            );
        }
        // Its own decoding of the query, and of the path's empty segments, come to the same signature.
        for query in ["b=2&a=1&a=&a", "sum=1+1&sum=1%2b1", "tag[]=a&x;y=%c3%bc&q=ü", "&&p=100%&t=~-_."] {
            let answered = through(&proxy, via, &format!("{BOTH}?{query}"));
            assert_eq!(answered.status, 200, "{query}: {}", answered.text());
        }
    }
}

fn who_may_not_is_told_so_in_the_gateways_words(scene: &Scene) {
    let Stack { caller, stranger, api_key, .. } = &scene.stack;

    let denied = scene.direct(SIGNED, Some(stranger), Some(api_key));
    assert_eq!(denied.head.one("x-amzn-errortype"), Some("AccessDeniedException"));
    assert!(denied.text().contains("is not authorized to perform: execute-api:Invoke"), "{}", denied.text());
    let proxy = scene.proxy(stranger, api_key, "");
    for via in Via::ALL {
        passed_on(&through(&proxy, via, SIGNED), &denied);
        assert_eq!(through(&proxy, via, BOTH).status, 403);
        // It has the key, which is all that this route asks for.
        assert_eq!(through(&proxy, via, KEYED).status, 200);
    }

    let wrong_key = "wrong".repeat(8);
    let forbidden = scene.direct(BOTH, Some(caller), Some(&wrong_key));
    assert_eq!((forbidden.status, forbidden.text()), (403, r#"{"message":"Forbidden"}"#));
    let proxy = scene.proxy(caller, &wrong_key, "");
    passed_on(&through(&proxy, Via::Http1, KEYED), &forbidden);
    passed_on(&through(&proxy, Via::Http1, BOTH), &forbidden);
    assert_eq!(through(&proxy, Via::Http1, SIGNED).status, 200);

    let impostor = User { secret: "wrong".to_owned(), ..caller.clone() };
    let mismatch = scene.direct(SIGNED, Some(&impostor), Some(api_key));
    assert_eq!(mismatch.head.one("x-amzn-errortype"), Some("InvalidSignatureException"));
    passed_on(&through(&scene.proxy(&impostor, api_key, ""), Via::Http1, SIGNED), &mismatch);
}

fn a_role_is_assumed(scene: &Scene) {
    let Stack { assumer, stranger, api_key, role_arn, .. } = &scene.stack;
    // Without the role this user may call nothing.
    assert_eq!(scene.direct(SIGNED, Some(assumer), None).status, 403);

    let role = format!("role = {{ arn = \"{role_arn}\", session_name = \"orders\" }}\n");
    let proxy = scene.proxy(assumer, api_key, &role);
    for via in Via::ALL {
        for route in [KEYED, SIGNED, BOTH] {
            let answered = through(&proxy, via, route);
            assert_eq!(answered.status, 200, "{route}: {}", answered.text());
        }
    }

    // Who may not assume it gets the proxy's own answer, since nothing can be signed; the key alone still serves.
    let proxy = scene.proxy(stranger, api_key, &role);
    let refused = through(&proxy, Via::Http1, SIGNED);
    assert_eq!((refused.status, refused.head.one("x-countersign-error")), (503, Some("no-credentials")));
    assert!(refused.text().contains("AccessDenied"), "{}", refused.text());
}
