//! Credentials and clocks that go wrong while the proxy runs: what can be mended is, once and unseen; what cannot is
//! passed on as the gateway said it, with one line of log. Mostly before the gateway that verifies.

use std::{
    fs,
    io::{self, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use countersign::demo::{
    gateway::{Gateway, GatewaySettings, Record, Running, SUCCESS},
    refusal::Refusal,
    verify::Account,
};
use flate2::{Compression, write::GzEncoder};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use crate::{
    pages::own_address,
    support::{
        PATIENCE, TempDir,
        client::{Answer, Ask, Client, Via},
        origin::{Origin, Then, answer},
        process::{Countersign, Launch, Stream},
        scene::{SECRET, Scene, Setup, TOKEN, access_key, assert_refusal},
    },
};

const ROUTE: &str = "/auth/iam-sigv4";

/// The gateway that verifies, on a thread of its own.
pub(crate) struct Stage {
    pub(crate) running: Running,
    records: Mutex<UnboundedReceiver<Record>>,
    ca: TempDir,
    _end: oneshot::Sender<()>,
}

impl Stage {
    pub(crate) fn start(accounts: Vec<Account>) -> Self {
        let (started, start) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let settings = GatewaySettings { accounts, ..GatewaySettings::random().unwrap() };
                started.send(Gateway::start(settings).await.unwrap()).unwrap();
                let _end = ended.await;
            });
        });
        let running = start.recv_timeout(PATIENCE).expect("the gateway starts");
        let records = Mutex::new(running.subscribe());
        let ca = TempDir::new();
        ca.write("ca.pem", &running.ca_pem);
        Self { running, records, ca, _end: end }
    }

    /// How the proxy is started in front of it.
    pub(crate) fn launch(&self, stage: &str) -> Launch {
        Launch::config(&format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\nurl = \"{}\"\nconnect_to = \"{}\"\n\
             ca_bundle = \"{}\"\n{stage}\n",
            self.running.stage_url,
            self.running.addr,
            self.ca.path().join("ca.pem").display()
        ))
    }

    /// What the gateway thought of each request since the last call.
    pub(crate) fn verdicts(&self) -> Vec<Option<Refusal>> {
        let mut records = self.records.lock().unwrap();
        std::iter::from_fn(|| records.try_recv().ok()).map(|record| record.verdict.err()).collect()
    }
}

pub(crate) fn session(key: &str, expires: Option<SystemTime>) -> Account {
    Account {
        access_key_id: key.to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: Some(format!("{TOKEN}-{key}")),
        expires,
    }
}

/// What a `credential_process` prints for [`session`]; it says nothing of an end.
fn printed(key: &str) -> String {
    format!(
        "{{\"Version\":1,\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"{SECRET}\",\"SessionToken\":\"{TOKEN}-{key}\"}}"
    )
}

/// A profile whose command prints the file `printed.json` and counts its runs in `runs`.
const TOOL: &str = "[profile tool]\ncredential_process = echo run >> runs; cat printed.json\n";

fn with_tool(launch: Launch, key: &str) -> Countersign {
    let proxy = launch.file(".aws/config", TOOL).file("printed.json", &printed(key)).start();
    heard(&proxy, "credentials are ready");
    proxy
}

fn runs(proxy: &Countersign) -> usize {
    fs::read_to_string(proxy.home().path().join("runs")).unwrap_or_default().lines().count()
}

pub(crate) fn heard(proxy: &Countersign, part: &str) {
    let found = proxy.process().find(|line| line.contains(part).then_some(()));
    assert!(found.is_some(), "the proxy ended without {part:?}");
}

pub(crate) fn said(proxy: &Countersign, part: &str) -> usize {
    proxy.process().output().lines().filter(|line| line.contains(part)).count()
}

fn get(proxy: &Countersign, via: Via) -> Answer {
    via.exchange(proxy.address(), &Ask::new("GET", ROUTE)).expect("the proxy answers")
}

pub(crate) fn succeeds(proxy: &Countersign, via: Via) {
    let answer = get(proxy, via);
    assert_eq!((answer.status, answer.text()), (200, SUCCESS), "{}", proxy.process().output());
}

/// Asks until it is served; meanwhile only `status` is taken.
fn until_served(proxy: &Countersign, status: u16) {
    loop {
        let answer = get(proxy, Via::Http1);
        if answer.status == 200 {
            return;
        }
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

fn an_hour_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}

#[test]
fn an_expired_session_is_renewed_and_the_request_sent_once_more() {
    for via in Via::ALL {
        let stage = Stage::start(vec![session("ASIAOLD", Some(an_hour_ago())), session("ASIANEW", None)]);
        let proxy = with_tool(stage.launch("profile = \"tool\""), "ASIAOLD");
        proxy.home().write("printed.json", &printed("ASIANEW"));
        succeeds(&proxy, via);
        assert_eq!(stage.verdicts(), [Some(Refusal::ExpiredToken), None], "the client saw nothing of it");
        succeeds(&proxy, via);
        assert_eq!((stage.verdicts(), runs(&proxy)), (vec![None], 2));
    }
}

#[test]
fn many_requests_with_an_expired_session_cause_one_refresh() {
    let stage = Stage::start(vec![session("ASIAOLD", Some(an_hour_ago())), session("ASIANEW", None)]);
    let proxy = with_tool(stage.launch("profile = \"tool\""), "ASIAOLD");
    proxy.home().write("printed.json", &printed("ASIANEW"));
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| succeeds(&proxy, Via::Http1));
        }
    });
    let verdicts = stage.verdicts();
    let refused = verdicts.iter().filter(|verdict| **verdict == Some(Refusal::ExpiredToken)).count();
    assert_eq!(verdicts.len(), 50 + refused, "none was sent a third time");
    assert!(refused >= 1);
    assert_eq!(runs(&proxy), 2, "at the start, and once for all of them");
}

#[test]
fn an_unknown_key_is_the_gateways_to_refuse_and_one_line_of_log() {
    let stage = Stage::start(vec![session("ASIAOTHER", None)]);
    let proxy = with_tool(stage.launch("profile = \"tool\""), "ASIADELETED");
    for via in [Via::Http1, Via::H2c, Via::Http1, Via::H2c] {
        let answer = get(&proxy, via);
        let body = r#"{"message":"The security token included in the request is invalid."}"#;
        assert_eq!((answer.status, answer.text()), (403, body));
        assert_eq!(answer.head.one("x-amzn-errortype"), Some("UnrecognizedClientException"));
        assert_eq!(answer.head.one("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(answer.head.one("x-countersign-error"), None);
        assert_eq!(stage.verdicts(), [Some(Refusal::UnknownKey)], "sent once");
    }
    heard(&proxy, "the gateway refuses the credentials from profile tool");
    assert_eq!(said(&proxy, "the gateway refuses the credentials"), 1, "{}", proxy.process().output());
    // Somebody mends it; nobody restarts anything.
    proxy.home().write("printed.json", &printed("ASIAOTHER"));
    until_served(&proxy, 403);
    heard(&proxy, "credentials are ready");
}

#[test]
fn a_clock_that_is_off_is_learned_followed_and_forgotten() {
    let late = |verdicts: &[Option<Refusal>]| {
        matches!(verdicts, [Some(Refusal::Expired { .. } | Refusal::NotYetCurrent { .. }), None])
    };
    for (offset, word) in [(600, "10 minutes behind"), (-600, "10 minutes ahead")] {
        let stage = Stage::start(vec![session("ASIAKEY", None)]);
        let clock = &stage.running.clock;
        let proxy = with_tool(stage.launch("profile = \"tool\"\n"), "ASIAKEY");
        clock.set_offset(offset);
        succeeds(&proxy, Via::Http1);
        let verdicts = stage.verdicts();
        assert!(late(&verdicts), "{verdicts:?}");
        succeeds(&proxy, Via::H2c);
        assert_eq!(stage.verdicts(), [None], "what was learned is signed with");
        heard(&proxy, word);
        assert_eq!(said(&proxy, "signing with the gateway's time"), 1);

        // It is set right step by step: each answer shows it, and no request is refused for it.
        for step in [400, 150, 0] {
            clock.set_offset(step * offset.signum());
            succeeds(&proxy, Via::Http1);
            assert_eq!(stage.verdicts(), [None], "{step}");
        }
        heard(&proxy, "this machine's clock agrees with the gateway's again");

        // All at once.
        clock.set_offset(offset);
        succeeds(&proxy, Via::Http1);
        clock.set_offset(0);
        stage.verdicts();
        succeeds(&proxy, Via::Http1);
        let verdicts = stage.verdicts();
        assert!(late(&verdicts), "{verdicts:?}");
        succeeds(&proxy, Via::Http1);
        assert_eq!(stage.verdicts(), [None]);
    }
}

#[test]
fn workers_share_what_is_known_of_the_clock() {
    let stage = Stage::start(vec![session("ASIAKEY", None)]);
    let text = stage.launch("profile = \"tool\"").variable("COUNTERSIGN_WORKERS", "3");
    let proxy = with_tool(text, "ASIAKEY");
    stage.running.clock.set_offset(-3000);
    for _ in 0..6 {
        succeeds(&proxy, Via::Http1);
    }
    let verdicts = stage.verdicts();
    assert_eq!(verdicts.len(), 7, "one of them was refused, on whichever worker: {verdicts:?}");
    assert_eq!(said(&proxy, "50 minutes ahead"), 1, "{}", proxy.process().output());
}

#[test]
fn a_difference_of_more_than_a_day_is_not_believed() {
    let stage = Stage::start(vec![session("ASIAKEY", None)]);
    let proxy = with_tool(stage.launch("profile = \"tool\""), "ASIAKEY");
    stage.running.clock.set_offset(-90_000);
    for _ in 0..2 {
        let answer = get(&proxy, Via::Http1);
        assert_eq!(answer.status, 403);
        assert!(answer.text().contains("Signature not yet current"), "{}", answer.text());
        assert_eq!(stage.verdicts().len(), 1);
    }
    assert_eq!(said(&proxy, "signing with the gateway's time"), 0);
}

/// A stage that refuses the key `ASIAOLD` with what `refuse` makes, and takes any other; the proxy has `ASIAOLD`, and
/// gets another when it asks.
fn refusing(refuse: impl Fn() -> (Vec<u8>, Then) + Send + Sync + 'static) -> Scene {
    let scene = Setup::new()
        .without_keys()
        .stage("profile = \"tool\"")
        .file(".aws/config", TOOL)
        .file("printed.json", &printed("ASIAOLD"))
        .start(move |request, reply| {
            if access_key(request) == "ASIAOLD" {
                let (bytes, then) = refuse();
                reply.send(bytes)?;
                return Ok(then);
            }
            if request.method() == "HEAD" {
                reply.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")?;
            } else {
                reply.send(answer("200 OK", &[], "ok"))?;
            }
            Ok(Then::Keep)
        });
    heard(&scene.proxy, "credentials are ready");
    scene.proxy.home().write("printed.json", &printed("ASIANEW"));
    scene
}

const EXPIRED: &str = r#"{"message":"The security token included in the request is expired"}"#;

#[test]
fn what_acts_is_only_sent_again_when_it_was_surely_the_gateway_that_refused() {
    let types = [None, Some("ExpiredTokenException")];
    for (method, kind) in
        ["GET", "POST", "DELETE"].into_iter().flat_map(|method| types.map(|kind| (method, kind)))
    {
        let scene = refusing(move || {
            let fields =
                [("content-type", "application/json"), ("x-amzn-errortype", kind.unwrap_or_default())];
            (answer("403 Forbidden", &fields[..=usize::from(kind.is_some())], EXPIRED), Then::Keep)
        });
        let ask = Ask::new(method, "/a").body("the body");
        let again = method == "GET" || kind.is_some();
        let answer = scene.ask(Via::Http1, &ask);
        let expected = if again { (200, "ok") } else { (403, EXPIRED) };
        assert_eq!((answer.status, answer.text()), expected, "{method} {kind:?}");
        let sent = scene.origin.take();
        assert_eq!(sent.len(), 1 + usize::from(again), "{method} {kind:?}");
        assert!(sent.iter().all(|request| request.body == b"the body"), "{method} {kind:?}");
        // It was learned in any case: the next request is signed with what is newer.
        assert_eq!(scene.ask(Via::Http1, &ask).status, 200);
        assert_eq!(scene.origin.take().len(), 1);
    }
}

#[test]
fn without_a_body_the_type_tells() {
    for via in Via::ALL {
        let head = "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: ExpiredTokenException:http://internal/\r\ncontent-length: \
                    67\r\n\r\n";
        let scene = refusing(move || (head.as_bytes().to_vec(), Then::Keep));
        assert_eq!(scene.ask(via, &Ask::new("HEAD", "/a")).status, 200);
        assert_eq!(scene.origin.take().len(), 2);
    }
}

#[test]
fn a_compressed_refusal_tells_as_much() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(EXPIRED.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let scene = refusing(move || {
        let fields = [("content-type", "application/json"), ("content-encoding", "gzip")];
        (answer("403 Forbidden", &fields, &packed), Then::Keep)
    });
    let ask = Ask::new("GET", "/a").header("accept-encoding", "gzip");
    assert_eq!(scene.ask(Via::Http1, &ask).status, 200);
    assert_eq!(scene.origin.take().len(), 2);
}

#[test]
fn what_tells_nothing_long_answers_and_streams_pass_untouched() {
    let long = format!(
        "{{\"message\":\"The security token included in the request is expired{}\"}}",
        " ".repeat(17_000)
    );
    let kind = ("x-amzn-errortype", "ExpiredTokenException");
    let json = ("content-type", "application/json");
    let chunked = format!(
        "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: ExpiredTokenException\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n\
         {EXPIRED}\r\n0\r\n\r\n",
        EXPIRED.len()
    );
    let forbidden = r#"{"message":"Forbidden"}"#;
    for (bytes, body) in [
        (answer("403 Forbidden", &[json], forbidden), forbidden),
        (answer("403 Forbidden", &[json, ("x-amzn-errortype", "ForbiddenException")], forbidden), forbidden),
        (answer("403 Forbidden", &[("content-type", "text/html")], EXPIRED), EXPIRED),
        (answer("404 Not Found", &[json, kind], EXPIRED), EXPIRED),
        (answer("500 Oops", &[json, kind], EXPIRED), EXPIRED),
        (answer("403 Forbidden", &[json, kind], &long), &long),
        (chunked.into_bytes(), EXPIRED),
    ] {
        let scene = refusing(move || (bytes.clone(), Then::Keep));
        for via in Via::ALL {
            let answer = scene.ask(via, &Ask::new("GET", "/a"));
            assert!(answer.status >= 400 && answer.text() == body, "{}", answer.text());
            assert_eq!(answer.head.one("x-countersign-error"), None);
        }
        assert_eq!(scene.origin.take().len(), 2, "{body}");
        assert_eq!(runs(&scene.proxy), 1, "{body}");
    }
}

#[test]
fn a_refusal_that_breaks_off_is_an_error_for_the_client() {
    let bytes = b"HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: ExpiredTokenException\r\ncontent-length: 99\r\n\r\n{\"mess";
    let scene = refusing(move || (bytes.to_vec(), Then::Cut));
    for via in Via::ALL {
        assert!(via.exchange(scene.proxy.address(), &Ask::new("GET", "/a")).is_err(), "{via:?}");
    }
    assert_eq!(scene.origin.take().len(), 2);
}

#[test]
fn a_refusal_that_stalls_goes_on_as_it_comes() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let scene = Setup::new().start(move |_, reply| {
        let (early, late) = EXPIRED.split_at(9);
        let head = "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: ExpiredTokenException\r\ncontent-length: ";
        reply.send(format!("{head}{}\r\n\r\n{early}", EXPIRED.len()))?;
        wait.lock().unwrap().recv_timeout(PATIENCE).map_err(io::Error::other)?;
        reply.send(late)?;
        Ok(Then::Keep)
    });
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&Ask::new("GET", "/a").bytes()).unwrap();
    let (status, _) = client.head("GET").unwrap();
    go.send(()).unwrap();
    let mut body = Vec::new();
    while let Some(piece) = client.piece().unwrap() {
        body.extend(piece);
    }
    assert_eq!((status, String::from_utf8(body).unwrap().as_str()), (403, EXPIRED));
    assert_eq!(scene.origin.take().len(), 1);
}

#[test]
fn after_a_sleep_the_first_request_waits_for_the_renewal() {
    let stage = Stage::start(vec![session("ASIAKEY", None)]);
    let script = format!(
        "at=$(date -u -d '+6 seconds' +%Y-%m-%dT%H:%M:%SZ)\necho '{}' | sed \"s/}}$/,\\\"Expiration\\\":\\\"$at\\\"}}/\"\n",
        printed("ASIAKEY")
    );
    let proxy = stage
        .launch("profile = \"tool\"")
        .file("tool.sh", &script)
        .file(".aws/config", "[profile tool]\ncredential_process = sh tool.sh\n")
        .start();
    heard(&proxy, "credentials are ready");
    succeeds(&proxy, Via::Http1);
    // As a laptop's lid: nothing of the proxy runs until what it holds is over.
    proxy.process().stop();
    let over = SystemTime::now() + Duration::from_secs(7);
    while SystemTime::now() < over {
        thread::sleep(Duration::from_millis(50));
    }
    thread::scope(|scope| {
        let first = scope.spawn(|| succeeds(&proxy, Via::Http1));
        proxy.process().signal("CONT");
        first.join().unwrap();
    });
    assert_eq!(said(&proxy, "no usable credentials"), 0, "{}", proxy.process().output());
}

#[test]
fn secrets_in_a_refusal_that_was_looked_into_are_masked() {
    let body =
        format!(r#"{{"message":"The security token included in the request is invalid: {TOKEN}-ASIAOLD"}}"#);
    let scene = refusing(move || {
        let kind = [("x-amzn-errortype", "UnrecognizedClientException")];
        (answer("403 Forbidden", &kind, &body), Then::Keep)
    });
    // No newer credentials, so that the refusal goes to the client.
    scene.proxy.home().write("printed.json", &printed("ASIAOLD"));
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("GET", "/a"));
        assert_eq!(answer.status, 403);
        assert!(
            answer.text().contains("is invalid: ****") && !answer.text().contains(TOKEN),
            "{}",
            answer.text()
        );
    }
}

/// STS on loopback: while `up`, a session that ends so many seconds from now, with a new key each time.
pub(crate) fn sts(up: &Arc<AtomicBool>, lifetime: u64) -> Origin {
    let up = Arc::clone(up);
    Origin::plain(move |_, reply| -> io::Result<Then> {
        if !up.load(Ordering::SeqCst) {
            return Ok(Then::Reset);
        }
        let ends = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(lifetime));
        let assumed = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/caller/x</Arn><AssumedRoleId>AROA:x\
             </AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>ASIAKEY</AccessKeyId><SecretAccessKey>\
             {SECRET}</SecretAccessKey><SessionToken>{TOKEN}-ASIAKEY</SessionToken><Expiration>{ends}</Expiration>\
             </Credentials></AssumeRoleResult></AssumeRoleResponse>"
        );
        reply.send(answer("200 OK", &[("content-type", "text/xml")], assumed))?;
        Ok(Then::Keep)
    })
}

#[test]
fn while_sts_is_down_what_is_unexpired_serves_and_afterwards_the_refusal_says_why() {
    let up = Arc::new(AtomicBool::new(true));
    let sts = sts(&up, 30);
    let stage = Stage::start(vec![session("ASIAKEY", None)]);
    let proxy = stage
        .launch("role.arn = \"arn:aws:iam::111122223333:role/caller\"")
        .keys("AKIDBASE", SECRET)
        .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
        .start();
    heard(&proxy, "credentials are ready");
    up.store(false, Ordering::SeqCst);
    // Every request is served until they end, before the refresh fails and after.
    succeeds(&proxy, Via::Http1);
    heard(&proxy, "those held stay in use");
    for via in Via::ALL {
        succeeds(&proxy, via);
    }
    heard(&proxy, "no usable credentials");
    let refused = get(&proxy, Via::Http1);
    assert_refusal(&refused, 503, "credentials-expired");
    assert!(refused.text().contains("arn:aws:iam::111122223333:role/caller"), "{}", refused.text());
    assert!(refused.text().contains("tried again by itself"), "{}", refused.text());
    up.store(true, Ordering::SeqCst);
    until_served(&proxy, 503);
    for (line, times) in [("those held stay in use", 1), ("no usable credentials", 1)] {
        assert_eq!(said(&proxy, line), times, "{}", proxy.process().output());
    }
}

/// The profile `dev` of an SSO session that nobody began, and a command that begins it (it writes keys instead).
fn with_login(script: &str, top: &str) -> Scene {
    let sso = "[profile dev]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = dev\n\
               [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n";
    let keys = format!("[profile dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = {SECRET}\n");
    let stage = format!("profile = \"dev\"\nlogin_command = [\"sh\", \"-c\", \"{script}\"]");
    let scene = Setup::new()
        .top(top)
        .without_keys()
        .stage(&stage)
        .file(".aws/config", sso)
        .file("after-login", &keys)
        .start_ok();
    heard(&scene.proxy, "no usable credentials");
    scene
}

fn logins(scene: &Scene) -> usize {
    fs::read_to_string(scene.proxy.home().path().join("logins")).unwrap_or_default().lines().count()
}

#[test]
fn the_login_command_is_run_once_for_a_caller_on_this_machine() {
    let script = "echo login >> logins; echo open https://device.example/; mv after-login .aws/config";
    let scene = with_login(script, "log.format = \"json\"");
    assert_eq!(logins(&scene), 0, "nobody asked yet");
    loop {
        let answer = scene.ask(Via::Http1, &Ask::new("GET", "/a"));
        if answer.status == 200 {
            break;
        }
        assert_refusal(&answer, 503, "no-credentials");
        assert!(answer.text().contains("`aws sso login --profile dev`"), "{}", answer.text());
    }
    assert_eq!(access_key(&scene.origin.next()), "AKIDDEV");
    assert_eq!(logins(&scene), 1);
    let spoken = scene.proxy.process().stream(Stream::Err);
    assert!(spoken.lines().any(|line| line == "open https://device.example/"), "{spoken}");
    assert!(!scene.proxy.process().stream(Stream::Out).contains("device.example"));
}

#[test]
fn a_login_that_fails_is_not_run_again_and_one_by_hand_is_taken_up() {
    let scene = with_login("echo login >> logins; exit 3", "");
    for via in Via::ALL {
        for _ in 0..3 {
            scene.refused(via, &Ask::new("GET", "/a"), 503, "no-credentials");
        }
    }
    heard(&scene.proxy, "the login command ended with exit status: 3");
    scene.refused(Via::Http1, &Ask::new("GET", "/a"), 503, "no-credentials");
    let keys = fs::read_to_string(scene.proxy.home().path().join("after-login")).unwrap();
    scene.proxy.home().write(".aws/config", &keys);
    heard(&scene.proxy, "credentials are ready");
    assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/a")).status, 200);
    assert_eq!(logins(&scene), 1);
}

#[test]
fn no_login_is_run_for_a_caller_on_another_machine() {
    let own = own_address();
    // As others come: not over loopback. Where this machine has no other address, nobody can.
    if own.is_loopback() {
        println!("not caused: this machine has no address that others reach");
        return;
    }
    let top = format!("listen = \"{own}:0\"\nguard = {{ allow_remote = true, no_token = true }}");
    let scene = with_login("echo login >> logins", &top);
    for via in Via::ALL {
        scene.refused(via, &Ask::new("GET", "/a"), 503, "no-credentials");
    }
    assert_eq!(logins(&scene), 0);
}

#[test]
fn a_login_under_way_is_what_the_hint_says() {
    // Hangs until the test's process, which is its only reader, opens the pipe.
    let scene = with_login("echo login >> logins; mkfifo gate.new; mv gate.new gate; read line < gate", "");
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    loop {
        let refused = client.exchange(&Ask::new("GET", "/a")).unwrap();
        assert_refusal(&refused, 503, "no-credentials");
        if refused.text().contains("a login is under way") {
            assert!(refused.text().contains("`aws sso login --profile dev`"), "{}", refused.text());
            break;
        }
    }
    assert_eq!(scene.proxy.terminate().code, Some(0), "it does not hold up the end");
}
