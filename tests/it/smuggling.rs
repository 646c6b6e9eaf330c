//! No request is smuggled through the proxy: whatever bytes a client sends, two stages with parsers that share nothing
//! see the same requests with the same bodies, and no more than the proxy answers for.

mod mutate;
mod origins;

use self::{
    mutate::{Numbers, mutated},
    origins::{Origin, Read},
};
use crate::{
    corpus::{HTTP1, LIMITS, exchange, translated, with_tail},
    support::{
        client::{Ask, Via},
        corpus,
        process::{Countersign, Launch},
        scene::{ACCESS_KEY, SECRET},
    },
};

/// How many variations of the corpus are sent besides.
const MUTATIONS: u64 = 600;

fn proxy_to(origin: &Origin) -> Countersign {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n{LIMITS}\n[[stage]]\nurl = \"http://{}/prod\"\n\
         region = \"us-west-2\"\n",
        origin.address
    );
    Launch::config(&text).keys(ACCESS_KEY, SECRET).start()
}

struct Pair {
    stages: [(Origin, Countersign); 2],
}

impl Pair {
    fn start() -> Self {
        let stages = [Origin::hyper(), Origin::h11()].map(|origin| {
            let proxy = proxy_to(&origin);
            (origin, proxy)
        });
        Self { stages }
    }

    /// Both stages see the same when these bytes are sent, and how many requests that are.
    fn agree(&self, name: &str, bytes: &[u8], end: bool) -> usize {
        let [(answers, seen), (others, others_seen)] = [0, 1].map(|which| {
            let (origin, proxy) = &self.stages[which];
            let came = exchange(proxy.address(), name, bytes, end);
            let answers: Vec<_> = came.into_iter().map(|answer| answer.what).collect();
            // What carries a code is the proxy's own answer; all others are the stage's.
            let forwarded = answers.iter().filter(|answer| !answer.contains(' ')).count();
            let seen: Vec<Read> = origin
                .take(forwarded)
                .into_iter()
                .map(|report| {
                    let read = report.unwrap_or_else(|error| {
                        panic!("{name}: the stage could not read it: {error}\n{}", bytes.escape_ascii())
                    });
                    comparable(read, &origin.address.to_string())
                })
                .collect();
            assert_eq!(seen.len(), forwarded, "{name}: {answers:?} {seen:?}\n{}", bytes.escape_ascii());
            (answers, seen)
        });
        assert_eq!(answers, others, "{name}: {}", bytes.escape_ascii());
        assert_eq!(seen, others_seen, "{name}: {}", bytes.escape_ascii());
        seen.len()
    }

    /// The same of a request that comes as frames.
    fn agree_on(&self, name: &str, ask: &Ask) -> usize {
        let [(what, seen), (other, others_seen)] = [0, 1].map(|which| {
            let (origin, proxy) = &self.stages[which];
            let answer =
                Via::H2c.exchange(proxy.address(), ask).unwrap_or_else(|error| panic!("{name}: {error}"));
            let code = answer.head.one("x-countersign-error").map(str::to_owned);
            let seen = origin.take(usize::from(code.is_none())).into_iter().map(|report| {
                let read =
                    report.unwrap_or_else(|error| panic!("{name}: the stage could not read it: {error}"));
                comparable(read, &origin.address.to_string())
            });
            ((answer.status, code), seen.collect::<Vec<_>>())
        });
        assert_eq!((what, &seen), (other, &others_seen), "{name}");
        seen.len()
    }

    fn end(self) {
        for (origin, proxy) in self.stages {
            // The connections that it kept end with it.
            assert_eq!(proxy.terminate().code, Some(0));
            assert_eq!(origin.end(), []);
        }
    }
}

/// Without what differs between two proxies: the stage's port, and the second of signing.
fn comparable(mut read: Read, host: &str) -> Read {
    let hosts: Vec<_> = read.headers.iter().filter(|(name, _)| name == "host").collect();
    assert!(matches!(hosts[..], [(_, value)] if value == host), "{read:?}");
    // Each request has an id of its own, and one.
    assert_eq!(read.headers.iter().filter(|(name, _)| name == "x-request-id").count(), 1, "{read:?}");
    let of_its_own = |name: &str| matches!(name, "host" | "x-amz-date" | "authorization" | "x-request-id");
    read.headers.retain(|(name, _)| !of_its_own(name));
    read.headers.sort();
    read
}

#[test]
fn two_stages_see_the_same_requests() {
    let pair = Pair::start();
    let cases: Vec<_> = HTTP1.into_iter().flat_map(corpus::read).collect();
    for case in &cases {
        let bytes = if case.ends { case.sent.clone() } else { with_tail(&case.sent) };
        let seen = pair.agree(&case.name, &bytes, case.ends);
        let tail = usize::from(case.answers.last().is_some_and(|last| last == "open"));
        assert_eq!(seen, case.reached.len() + tail, "{}", case.name);
    }
    for case in cases.iter().filter(|case| case.over_h2c) {
        let seen = pair.agree_on(&case.name, &translated(case));
        assert_eq!(seen, case.reached.len(), "{} over h2c", case.name);
    }
    pair.end();
}

#[test]
fn two_stages_see_the_same_of_whatever_is_sent() {
    let pair = Pair::start();
    let cases: Vec<_> = HTTP1.into_iter().flat_map(corpus::read).collect();
    // An answer to HEAD has no body, which `exchange` knows of a first request only.
    let fit = |sent: &[u8]| sent.len() < 2000 && memchr::memmem::find(sent, b"HEAD").is_none();
    let fitting = cases.iter().filter(|case| fit(&case.sent));
    // A change to what is refused is mostly refused too: what is forwarded has the greater share.
    let share = |case: &corpus::Case| if case.reached.is_empty() { 1 } else { 6 };
    let small: Vec<_> =
        fitting.flat_map(|case| std::iter::repeat_n(case.sent.as_slice(), share(case))).collect();
    let mut forwarded = 0;
    for seed in 0..MUTATIONS {
        let bytes = mutated(&small, &mut Numbers::from(seed));
        forwarded += pair.agree(&format!("variation {seed}"), &with_tail(&bytes), false);
    }
    // Neither is all refused nor is all let through.
    assert!(forwarded > 200, "{forwarded} of {MUTATIONS} were forwarded");
    pair.end();
}
