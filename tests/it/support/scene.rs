//! The usual scene: an origin that plays the stage, the proxy in front of it, a client's request in between.

use std::{
    io,
    sync::{Arc, Mutex, mpsc},
    time::SystemTime,
};

use countersign::demo::{
    canonical::Received,
    verify::{Account, Verifier},
};

use super::{
    client::{Answer, Ask, Via},
    origin::{Options, Origin, Reply, Request, Then, answer},
    process::{Countersign, Launch},
};

/// The stage's host; the origin's certificate is for it.
pub const NAME: &str = "abc123.execute-api.us-west-2.amazonaws.com";
/// The credentials and the key that the proxy has, unless a test says otherwise.
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
/// Signs.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// With slashes and signs, as real ones have.
pub const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLXdlc3QtMiJHMEUCIQ+canary/token==";
/// Goes into `x-api-key`.
pub const API_KEY: &str = "api-key-canary-0123456789";

/// What differs from the usual scene.
#[derive(Default)]
pub struct Setup {
    top: String,
    stage: String,
    url: Option<String>,
    options: Options,
    plain: bool,
    no_keys: bool,
    token: bool,
    variables: Vec<(String, String)>,
    files: Vec<(String, String)>,
}

impl Setup {
    /// Nothing differs: one listener, one stage at `/prod` over TLS, dialled by `connect_to`; keys in the environment;
    /// every path signed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lines of configuration before the stage.
    pub fn top(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.top);
        self
    }

    /// Lines of configuration within the stage, its rules too, and of more stages: `{dial}` becomes the lines that lead
    /// a stage's name to the origin.
    pub fn stage(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.stage);
        self
    }

    /// More lines within the stage, after those that are there.
    pub fn stage_more(mut self, lines: &str) -> Self {
        self.stage = format!("{}\n{lines}", self.stage);
        self
    }

    /// The stage's API key, for all signed routes, if no rule says otherwise.
    pub fn api_key(mut self) -> Self {
        self.stage = format!("api_key.value = \"{API_KEY}\"\n{}", self.stage);
        self
    }

    /// Another url for the stage.
    pub fn url(mut self, url: &str) -> Self {
        self.url = Some(url.to_owned());
        self
    }

    /// The origin speaks plain HTTP, on `abc123.execute-api.localhost`.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Another origin.
    pub fn origin(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// No credentials in the environment.
    pub fn without_keys(mut self) -> Self {
        self.no_keys = true;
        self
    }

    /// The credentials are a session's.
    pub fn session(mut self) -> Self {
        self.token = true;
        self
    }

    /// An environment variable.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file below HOME.
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// The origin alone, and how to start the proxy in front of it.
    pub fn prepare(
        self,
        handler: impl Fn(&Request, &mut Reply<'_>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> (Origin, Launch) {
        let mut options = self.options;
        if !self.plain && options.names.is_empty() {
            options.names.push(NAME.to_owned());
        }
        let origin = Origin::with(options, handler);
        let port = origin.address().port();
        let (url, dial) = if self.plain {
            let url = format!("http://abc123.execute-api.localhost:{port}/prod");
            (url, format!("region = \"us-west-2\"\nconnect_to = \"127.0.0.1:{port}\""))
        } else {
            let ca = origin.ca().display();
            let dial = format!("connect_to = \"127.0.0.1:{port}\"\nca_bundle = \"{ca}\"");
            (format!("https://{NAME}/prod"), dial)
        };
        let url = self.url.unwrap_or(url);
        let stage = self.stage.replace("{dial}", &dial);
        let listen = if self.top.contains("listen =") { "" } else { "listen = \"127.0.0.1:0\"" };
        let admin = if self.top.contains("admin =") { "" } else { "admin = \"off\"" };
        let mut launch = Launch::config(&format!(
            "{listen}\n{admin}\n{}\n[[stage]]\nurl = \"{url}\"\n{dial}\n{stage}\n",
            self.top
        ));
        if !self.no_keys {
            launch = launch.keys(ACCESS_KEY, SECRET);
        }
        if self.token {
            launch = launch.variable("AWS_SESSION_TOKEN", TOKEN);
        }
        for (name, value) in &self.variables {
            launch = launch.variable(name, value);
        }
        for (name, content) in &self.files {
            launch = launch.file(name, content);
        }
        (origin, launch)
    }

    /// Starts both.
    pub fn start(
        self,
        handler: impl Fn(&Request, &mut Reply<'_>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Scene {
        let (origin, launch) = self.prepare(handler);
        Scene { origin, proxy: launch.start() }
    }

    /// Starts both; the origin answers everything with `200` and `ok`.
    pub fn start_ok(self) -> Scene {
        self.start(ok)
    }
}

/// Answers `200` and `ok`.
pub fn ok(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    if request.method() == "HEAD" {
        reply.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")?;
    } else {
        reply.send(answer("200 OK", &[], "ok"))?;
    }
    Ok(Then::Keep)
}

/// A proxy before a stage that answers `/held` only when it is told to.
pub fn holding(setup: Setup) -> (Scene, mpsc::Sender<()>) {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let handler = move |request: &Request, reply: &mut Reply<'_>| {
        if request.target() == b"/prod/held" {
            gone.lock().unwrap().recv().unwrap();
        }
        ok(request, reply)
    };
    (setup.start(handler), go)
}

/// An origin and the proxy in front of it.
pub struct Scene {
    /// The stage.
    pub origin: Origin,
    /// The proxy.
    pub proxy: Countersign,
}

impl Scene {
    /// Asks the proxy; whatever it answers.
    pub fn ask(&self, via: Via, ask: &Ask) -> Answer {
        via.exchange(self.proxy.address(), ask)
            .unwrap_or_else(|error| panic!("{via:?} {ask:?}: {error}\n{}", self.proxy.process().output()))
    }

    /// What reaches the stage when this is asked. The proxy must pass it on; if it is signed, the signature must hold.
    pub fn sent(&self, via: Via, ask: &Ask) -> Arc<Request> {
        let answer = self.ask(via, ask);
        let refused = answer.head.one("x-countersign-error");
        assert_eq!((answer.status, refused), (200, None), "{via:?} {ask:?}: {}", answer.text());
        let request = self.origin.next();
        if request.head.all("authorization").iter().any(|value| value.starts_with(b"AWS4-")) {
            assert_signed(&request);
        }
        request
    }

    /// The proxy's refusal of this; nothing may reach the stage.
    pub fn refused(&self, via: Via, ask: &Ask, status: u16, code: &str) -> Answer {
        let answer = self.ask(via, ask);
        assert_refusal(&answer, status, code);
        assert_eq!(self.origin.take().len(), 0, "{via:?} {ask:?} was forwarded");
        answer
    }
}

/// The answer is the proxy's own, in the form that all its refusals have.
pub fn assert_refusal(answer: &Answer, status: u16, code: &str) {
    let text = answer.text();
    assert_eq!((answer.status, answer.head.one("x-countersign-error")), (status, Some(code)), "{text}");
    assert_eq!(answer.head.one("content-type"), Some("application/json"));
    assert_eq!(answer.head.one("cache-control"), Some("no-store"));
    // Shown as a page, it asks for nothing.
    assert_eq!(answer.head.one("content-security-policy"), Some("default-src 'none'; sandbox"));
    let body = answer.json();
    let fields: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields, ["error", "hint", "message", "request_id"], "{text}");
    assert_eq!(body["error"], code);
    assert!(body.as_object().is_some_and(|all| all.values().all(serde_json::Value::is_string)), "{text}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
    assert!(body["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{text}");
}

/// The names in `SignedHeaders`.
pub fn signed_headers(request: &Request) -> Vec<String> {
    let authorization = request.head.one("authorization").expect("the request is signed");
    let (_, after) = authorization.split_once("SignedHeaders=").expect("SigV4 names what is signed");
    let list = after.split(',').next().expect("a split has a first part");
    list.split(';').map(str::to_owned).collect()
}

/// The access key's id in `Credential`.
pub fn access_key(request: &Request) -> String {
    let authorization = request.head.one("authorization").expect("the request is signed");
    let (_, after) = authorization.split_once("Credential=").expect("SigV4 names the key");
    after.split('/').next().expect("a split has a first part").to_owned()
}

/// The signature, made with [`SECRET`], holds for what arrived, byte for byte, in the eyes of a verifier that shares
/// nothing with the signer.
pub fn assert_signed(request: &Request) {
    let token = request.head.one("x-amz-security-token").map(str::to_owned);
    let account = Account {
        access_key_id: access_key(request),
        secret_access_key: SECRET.to_owned(),
        session_token: token,
        expires: None,
    };
    let verifier = Verifier {
        region: "us-west-2".to_owned(),
        service: "execute-api".to_owned(),
        accounts: vec![account],
    };
    let received = Received {
        method: request.method(),
        target: request.target(),
        headers: &request.head.fields,
        body: &request.body,
    };
    let verdict = verifier.verify(&received, SystemTime::now());
    assert!(verdict.is_ok(), "{verdict:?}\n{}", request.head.raw.escape_ascii());
}
