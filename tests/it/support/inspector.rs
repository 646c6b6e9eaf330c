//! A browser's part with the inspector: opens the link, keeps the cookie, asks the API, follows the events.

use std::{
    collections::VecDeque, fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf,
    time::Instant,
};

use serde_json::Value;

use super::{
    PATIENCE,
    client::{Answer, Ask, Client, Via},
    process::Countersign,
};

/// One that has a session.
pub struct Inspector {
    /// The admin listener.
    pub address: SocketAddr,
    /// As it is sent back.
    pub cookie: String,
}

/// The file that holds the link, as the log names it.
pub fn link_file(proxy: &Countersign) -> PathBuf {
    let found = proxy.process().find(|line| {
        let (_, after) = line.split_once("the link that opens it is in ")?;
        Some(after.split(['"', ' ']).next().unwrap_or_default().to_owned())
    });
    PathBuf::from(found.expect("the log names the file"))
}

/// The link, from the file.
pub fn link(proxy: &Countersign) -> String {
    let file = link_file(proxy);
    let mode = fs::metadata(&file).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "only its owner reads it");
    fs::read_to_string(&file).expect("it is text").trim_end().to_owned()
}

/// The address and the token of a link.
pub fn parts(link: &str) -> (SocketAddr, String) {
    let (address, token) =
        link.strip_prefix("http://").and_then(|rest| rest.split_once("/?token=")).expect("such is the link");
    (address.parse().expect("an address"), token.to_owned())
}

impl Inspector {
    /// Opens the link as a browser does that gets it from a terminal.
    pub fn open(proxy: &Countersign) -> Self {
        let (address, token) = parts(&link(proxy));
        let ask = Ask::new("GET", &format!("/?token={token}")).header("host", address.to_string());
        let answer = Via::Http1.exchange(address, &ask.header("sec-fetch-site", "none")).expect("it answers");
        assert_eq!((answer.status, answer.head.one("location")), (303, Some("/")), "{}", answer.text());
        let cookie = answer.head.one("set-cookie").expect("the cookie is set");
        let cookie = cookie.split(';').next().expect("a split has a first part").to_owned();
        Self { address, cookie }
    }

    /// A request as the page sends it.
    pub fn asking(&self, method: &str, target: &str) -> Ask {
        let own = format!("http://{}", self.address);
        let ask = Ask::new(method, target)
            .header("host", self.address.to_string())
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin");
        if method == "GET" {
            return ask;
        }
        ask.header("origin", own).header("x-countersign-inspector", "1")
    }

    /// Asks.
    pub fn ask(&self, ask: &Ask) -> Answer {
        Via::Http1.exchange(self.address, ask).expect("the inspector answers")
    }

    /// What it shows.
    pub fn get(&self, target: &str) -> Value {
        let answer = self.ask(&self.asking("GET", target));
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_eq!(answer.head.one("cache-control"), Some("no-store"), "{target}");
        answer.json()
    }

    /// What it does.
    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask(
            &self.asking("POST", target).header("content-type", "application/json").body(body.to_string()),
        )
    }

    /// The list.
    pub fn exchanges(&self, query: &str) -> Vec<Value> {
        self.get(&format!("/api/exchanges{query}"))["exchanges"].as_array().expect("a list").clone()
    }

    /// Follows the events from after this sequence.
    pub fn follow(&self, last: Option<u64>) -> Events {
        let mut ask = self.asking("GET", "/api/events").header("accept", "text/event-stream");
        if let Some(last) = last {
            ask = ask.header("last-event-id", last.to_string());
        }
        let mut client = Client::connect(self.address).expect("it listens");
        client.send(&ask.bytes()).expect("it reads");
        let (status, head) = client.head("GET").expect("it answers");
        assert_eq!((status, head.one("content-type")), (200, Some("text/event-stream")));
        Events { client, text: String::new(), ready: VecDeque::new() }
    }
}

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    /// `exchange`
    pub name: String,
    /// Its id.
    pub id: Option<u64>,
    /// Its data.
    pub data: Value,
}

/// An event stream that is read.
pub struct Events {
    client: Client,
    text: String,
    ready: VecDeque<Event>,
}

impl Events {
    /// The next event, whenever it comes.
    ///
    /// # Panics
    /// When none comes for long: what keeps the stream alive is no event.
    pub fn next(&mut self) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "no event came");
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let piece = self.client.piece().expect("the stream goes on").expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&piece).expect("it is UTF-8"));
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                    let id = field("id: ").map(|id| id.parse().expect("a sequence"));
                    let data = serde_json::from_str(&data).expect("data is JSON");
                    self.ready.push_back(Event { name, id, data });
                }
                self.text = rest.to_owned();
            }
        }
    }

    /// The next event of this name; others are passed over.
    ///
    /// # Panics
    /// When none comes for long.
    pub fn next_of(&mut self, name: &str) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.next();
            assert!(Instant::now() < deadline, "no {name} came: {event:?}");
            if event.name == name {
                return event;
            }
        }
    }
}
