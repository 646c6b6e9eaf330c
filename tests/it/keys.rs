//! An API key that AWS keeps: looked up at the start, looked up again when the gateway refuses it, and what is said when
//! it cannot be had. Against ministack, which keeps the key and asks for it; what ministack cannot be made to do (count,
//! be slow, deny one call) a small server of the test's own does under the SDK's endpoint settings.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    process::admin,
    support::{
        client::{Answer, Ask, Via},
        ministack::{Ministack, Stack, User},
        origin::{Origin, Then, answer},
        process::{Countersign, Launch},
        scene::{Setup, assert_refusal, assert_signed, ok},
        snapshot,
    },
};

const ROUTES: [&str; 3] = ["/auth/api-key", "/auth/iam-sigv4", "/auth/iam-sigv4-and-api-key"];
const KEYED: &str = ROUTES[0];
const FORBIDDEN: &str = "{\"message\":\"Forbidden\"}";

fn root() -> User {
    User { access_key: "test".to_owned(), secret: "test".to_owned() }
}

fn launch(ministack: &Ministack, stack: &Stack, user: &User, api_key: &str) -> Launch {
    let Stack { url, region, .. } = stack;
    let at = ministack.address();
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[[stage]]\nname = \"orders\"\nurl = \"{url}\"\n\
         region = \"{region}\"\nservice = \"execute-api\"\nconnect_to = \"{at}\"\napi_key = {{ {api_key} }}\n",
    );
    Launch::config(&config)
        .keys(&user.access_key, &user.secret)
        .variable("AWS_ENDPOINT_URL", &format!("http://{at}"))
        .variable("COUNTERSIGN_LOG_FILTER", "trace")
}

fn get(proxy: &Countersign, target: &str) -> Answer {
    Via::Http1.exchange(proxy.address(), &Ask::new("GET", target)).expect("the proxy answers")
}

fn ready(proxy: &Countersign) -> Answer {
    Via::Http1.exchange(admin(proxy.process()), &Ask::new("GET", "/readyz")).expect("admin answers")
}

#[test]
fn the_key_is_looked_up_wherever_aws_keeps_it_and_again_when_it_is_replaced() {
    let ministack = Ministack::start();
    let stack = ministack.deploy();
    ministack.script("keep");
    let by_id = format!("id = \"{}\"", stack.api_key_id);
    let all = [
        by_id.as_str(),
        "secret = \"orders/whole\"",
        "secret = \"orders#api-key\"",
        "parameter = \"/orders/api-key\"",
    ];
    let proxies = all.map(|place| launch(&ministack, &stack, &root(), place).start());
    for (proxy, place) in proxies.iter().zip(all) {
        for route in ROUTES {
            let answered = get(proxy, route);
            assert_eq!(answered.status, 200, "{place} {route}: {}", answered.text());
        }
        assert_eq!(ready(proxy).status, 200, "{place}");
    }

    // Who may not look it up serves what needs no key, says what is missing, and to whom it is to be given.
    for (place, action) in [
        (by_id.as_str(), "apigateway:GET"),
        ("secret = \"orders#api-key\"", "secretsmanager:GetSecretValue"),
        ("parameter = \"/orders/api-key\"", "ssm:GetParameter"),
    ] {
        let proxy = launch(&ministack, &stack, &stack.caller, place).start();
        let report = ready(&proxy);
        let problem = &report.json()["problems"][0];
        assert_eq!((report.status, problem["stage"].as_str()), (503, Some("orders")), "{report:?}");
        let hint = problem["hint"].as_str().expect("a hint");
        assert!(hint.contains(action), "{place}: {problem}");
        let refused = get(&proxy, KEYED);
        assert_refusal(&refused, 503, "no-api-key");
        assert!(refused.text().contains(action), "{}", refused.text());
    }

    // The key is replaced: the gateway refuses the old one, and nobody sees it.
    ministack.script("rotate");
    let of_secret = &proxies[2];
    for route in ROUTES {
        assert_eq!(get(of_secret, route).status, 200, "{route}");
    }
    // Where the old key is all that there is, its refusal comes through as the gateway said it.
    let stays = get(&proxies[3], KEYED);
    assert_eq!((stays.status, stays.text(), stays.head.one("x-countersign-error")), (403, FORBIDDEN, None));
    for proxy in proxies {
        let ended = proxy.terminate();
        assert!(!ended.out.contains(&stack.api_key) && !ended.err.contains(&stack.api_key), "{ended:?}");
    }
}

/// Keeps `held` as API Gateway does, and counts how often it is asked for.
struct Keeper {
    origin: Origin,
    asked: Arc<AtomicUsize>,
    /// Whether who asks may have it.
    open: Arc<AtomicBool>,
    enabled: Arc<AtomicBool>,
}

impl Keeper {
    fn new(open: bool) -> Self {
        let asked = Arc::<AtomicUsize>::default();
        let (open, enabled) = (Arc::new(AtomicBool::new(open)), Arc::new(AtomicBool::new(true)));
        let (count, may, on) = (Arc::clone(&asked), Arc::clone(&open), Arc::clone(&enabled));
        let origin = Origin::plain(move |request, reply| {
            let times = count.fetch_add(1, Ordering::SeqCst);
            assert_eq!(request.target(), &b"/apikeys/a1b2c3d4e5?includeValue=true"[..]);
            assert!(request.head.one("authorization").is_some_and(|value| value.contains("/apigateway/")));
            if may.load(Ordering::SeqCst) {
                let body = serde_json::json!({
                    "id": "a1b2c3d4e5", "name": "orders", "enabled": on.load(Ordering::SeqCst),
                    "value": format!("the-key-{times}-0123456789"),
                });
                reply.send(answer("200 OK", &[("content-type", "application/json")], body.to_string()))?;
            } else {
                let kind =
                    [("content-type", "application/json"), ("x-amzn-errortype", "AccessDeniedException")];
                let said = "{\"message\":\"User: arn:aws:iam::111122223333:user/ann is not authorized to perform: \
                            apigateway:GET on resource: arn:aws:apigateway:us-west-2::/apikeys/a1b2c3d4e5\"}";
                reply.send(answer("403 Forbidden", &kind, said))?;
            }
            Ok(Then::Keep)
        });
        Self { origin, asked, open, enabled }
    }

    fn setup(&self) -> Setup {
        Setup::new()
            .stage("api_key = { id = \"a1b2c3d4e5\" }")
            .variable("AWS_ENDPOINT_URL_API_GATEWAY", &format!("http://{}", self.origin.address()))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[test]
fn refusals_have_it_looked_up_once_and_what_was_refused_is_sent_again_with_it() {
    const OLD: &str = "the-key-0-0123456789";
    let keeper = Keeper::new(true);
    let refuses_all = Arc::<AtomicBool>::default();
    let refuses = Arc::clone(&refuses_all);
    let scene = keeper.setup().start(move |request, reply| {
        assert_signed(request);
        let old = request.head.one("x-api-key") == Some(OLD);
        if request.target().ends_with(b"/wants-new") && old || refuses.load(Ordering::SeqCst) {
            let headers = [("content-type", "application/json"), ("x-amzn-errortype", "ForbiddenException")];
            reply.send(answer("403 Forbidden", &headers, FORBIDDEN))?;
            return Ok(Then::Keep);
        }
        ok(request, reply)
    });
    assert_eq!(keeper.asked(), 1, "at the start");
    assert_eq!(scene.sent(Via::Http1, &Ask::new("GET", "/a")).head.one("x-api-key"), Some(OLD));
    thread::scope(|scope| {
        for _ in 0..8 {
            // What could act is sent again too: the gateway said itself that it has not.
            scope.spawn(|| {
                for method in ["GET", "POST"] {
                    let answered = scene.ask(Via::Http1, &Ask::new(method, "/wants-new").body("x"));
                    assert_eq!(answered.status, 200, "{}", answered.text());
                }
            });
        }
    });
    assert_eq!(keeper.asked(), 2, "once for all of them");

    // What stays refused is not asked about again for a minute, and goes through as it came.
    scene.origin.take();
    refuses_all.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = scene.ask(Via::Http1, &Ask::new("GET", "/a"));
        assert_eq!((refused.status, refused.text()), (403, FORBIDDEN));
    }
    assert_eq!((keeper.asked(), scene.origin.take().len()), (2, 3));
}

#[test]
fn what_is_denied_at_the_start_is_asked_for_again_until_it_is_given() {
    let keeper = Keeper::new(false);
    let scene = keeper.setup().top("admin = \"127.0.0.1:0\"").start_ok();
    let report = ready(&scene.proxy);
    let hint = report.json()["problems"][0]["hint"].to_string();
    assert!(
        hint.contains(
            "allow apigateway:GET on arn:aws:apigateway:us-west-2::/apikeys/a1b2c3d4e5; it is tried again by itself"
        ),
        "{hint}"
    );
    assert_eq!(report.status, 503);
    scene.refused(Via::Http1, &Ask::new("GET", "/a"), 503, "no-api-key");

    keeper.enabled.store(false, Ordering::SeqCst);
    keeper.open.store(true, Ordering::SeqCst);
    let heard = |part: &str| scene.proxy.process().find(|line| line.contains(part).then_some(()));
    assert!(heard("the API key a1b2c3d4e5 (orders) is disabled, and opens nothing").is_some());
    keeper.enabled.store(true, Ordering::SeqCst);
    assert!(heard("the API key is ready").is_some());
    assert_eq!(ready(&scene.proxy).status, 200);
    let sent = scene.sent(Via::Http1, &Ask::new("GET", "/a"));
    assert!(sent.head.one("x-api-key").is_some_and(|key| key.starts_with("the-key-")));
}

#[test]
fn a_key_that_is_switched_off_is_named_before_the_start() {
    let keeper = Keeper::new(true);
    keeper.enabled.store(false, Ordering::SeqCst);
    let (_origin, launch) = keeper.setup().variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1").prepare(ok);
    let ended = launch.instead("check", &["--no-probe", "--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let key = told["checks"].as_array().unwrap().iter().find(|one| one["check"] == "api key").unwrap();
    snapshot::text("check/disabled-key", &(serde_json::to_string_pretty(key).unwrap() + "\n"), &[]);
}

#[test]
fn explain_with_example_keys_asks_nobody() {
    let keeper = Keeper::new(true);
    let ended = Launch::arguments(["explain", "GET", "/a", "--example-keys", "--api-key-id=a1b2c3d4e5"])
        .argument("https://abc123.execute-api.us-west-2.amazonaws.com/prod")
        .variable("AWS_ENDPOINT_URL", &format!("http://{}", keeper.origin.address()))
        .run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("x-api-key"), "{ended:?}");
    assert_eq!(keeper.asked(), 0);
}
