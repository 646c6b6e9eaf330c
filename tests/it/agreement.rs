//! Independent verifiers agree: whatever the proxy forwards, captured from the wire, is accepted by `aws_sigv4`'s own
//! recomputation, by the demo's verifier and by botocore; what they would read differently is refused.
//!
//! `COUNTERSIGN_CASES` says how many forwarded requests are wanted; by itself 10,000. `tests/run --cases 1000000` sets it.
//! Each request is made from a number (`agreement/generate.rs`), `COUNTERSIGN_SEED` for the first, one more for the next,
//! so a failure names a seed with which it comes again alone. Batches keep memory bounded however many there are.

pub(crate) mod generate;
mod judge;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use countersign::demo::verify::Account;

use self::{
    generate::{Case, EXTRA},
    judge::{SERVICE, Stage},
};
use crate::support::{
    client::{Answer, Ask, Client, Via},
    h2c,
    origin::{Origin, Request, Then, answer},
    process::{Countersign, Launch},
    python,
};

/// Threads that send; each has a connection of either protocol.
const SENDERS: u64 = 4;
/// Threads that judge; each has a botocore.
const JUDGES: usize = 2;
/// Requests that are in hand at once, at most three times: being sent, waiting, being judged by each.
const BATCH: u64 = 1000;

const API_KEY: &str = "9mZ3EXAMPLEkey7Qw5T1yXo2LpRb4NcVd8FgHs6J";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLXdlc3QtMiJ+Token/With=Padding==";

/// The proxy between clients and an origin, with two stages that differ in all that goes into a signature.
struct Scene {
    origin: Origin,
    proxy: Countersign,
    stages: [Stage; 2],
}

impl Scene {
    fn new() -> Self {
        let origin = Origin::plain(|_, reply| {
            reply.send(answer("200 OK", &[], ""))?;
            Ok(Then::Keep)
        });
        let host = origin.address().to_string();
        let account = |id: &str, secret: &str, token: Option<&str>| Account {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: token.map(str::to_owned),
            expires: None,
        };
        let keyed = Stage {
            prefix: "/prod",
            host: host.clone(),
            region: "us-west-2",
            account: account("ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Some(TOKEN)),
            api_key: Some(API_KEY),
        };
        let bare = Stage {
            prefix: "",
            host: host.clone(),
            region: "eu-central-1",
            account: account("AKIDPLAIN", "plain/secret+of=forty/characters/EXAMPLE", None),
            api_key: None,
        };
        // A million lines of access log would be held by the test.
        let config = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[log]\naccess = false\n\
             [[stage]]\nname = \"keyed\"\nurl = \"http://{host}{}\"\nregion = \"{}\"\nservice = \"{SERVICE}\"\n\
             signed_headers = {EXTRA:?}\napi_key = {{ value = \"{API_KEY}\" }}\n\
             [[stage]]\nname = \"bare\"\nmount = \"{}\"\nurl = \"http://{host}{}\"\nregion = \"{}\"\n\
             service = \"{SERVICE}\"\nsigned_headers = {EXTRA:?}\nprofile = \"plain\"\n",
            keyed.prefix,
            keyed.region,
            generate::BARE,
            bare.prefix,
            bare.region,
        );
        let profile = format!(
            "[plain]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            bare.account.access_key_id, bare.account.secret_access_key
        );
        let proxy = Launch::config(&config)
            .keys(&keyed.account.access_key_id, &keyed.account.secret_access_key)
            .variable("AWS_SESSION_TOKEN", TOKEN)
            .file(".aws/credentials", &profile)
            .start();
        Self { origin, proxy, stages: [keyed, bare] }
    }

    fn stage(&self, case: &Case) -> &Stage {
        &self.stages[usize::from(case.bare)]
    }
}

/// A client that keeps its connections, as long as the proxy does.
struct Sender {
    address: SocketAddr,
    http1: Option<Client>,
    h2c: h2c::Client,
}

impl Sender {
    fn new(address: SocketAddr) -> Self {
        Self { address, http1: None, h2c: h2c::Client::connect(address).expect("the proxy listens") }
    }

    fn exchange(&mut self, case: &Case) -> Answer {
        match case.via {
            Via::H2c => match &case.chunks {
                None => self.h2c.exchange(&case.ask),
                Some(chunks) => send_in_pieces(&self.h2c, case, chunks),
            },
            Via::Http1 => {
                let mut client = match self.http1.take() {
                    Some(client) => client,
                    None => Client::connect(self.address).expect("the proxy listens"),
                };
                let answer = client.send(&case.bytes()).and_then(|()| client.answer(&case.ask.method));
                // A refusal may leave a body unread, which ends the connection.
                let kept = answer.as_ref().is_ok_and(|answer| answer.status == 200);
                self.http1 = kept.then_some(client);
                answer
            }
        }
        .unwrap_or_else(|error| panic!("no answer: {error}\n{}", judge::story(case, None)))
    }
}

fn send_in_pieces(client: &h2c::Client, case: &Case, chunks: &[Vec<u8>]) -> std::io::Result<Answer> {
    let mut stream = client.begin(&case.ask, false)?;
    for chunk in chunks {
        stream.send(chunk, false)?;
    }
    stream.send(b"", true)?;
    let (status, head) = stream.head()?;
    let mut body = Vec::new();
    while let Some(piece) = stream.piece()? {
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, head, body, interim: Vec::new() })
}

/// Requests with what became of each: the proxy's answer and what came to the stage.
type Batch = Vec<(Case, Answer, Option<Arc<Request>>)>;

/// Sends the requests of these seeds and fetches what came to the stage.
fn send(scene: &Scene, senders: &mut [Sender], seeds: std::ops::Range<u64>) -> Batch {
    let share = |first: u64| seeds.clone().filter(move |seed| (seed - seeds.start) % SENDERS == first);
    let answered: Vec<(Case, Answer)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(senders)
            .map(|(first, sender)| {
                let share = share(first);
                scope.spawn(move || -> Vec<_> {
                    let numbered = |seed| {
                        let mut case = Case::new(seed);
                        case.ask = case.ask.header("x-case", seed.to_string());
                        let answer = sender.exchange(&case);
                        (case, answer)
                    };
                    share.map(numbered).collect()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("its message is above")).collect()
    });
    let mut arrived: HashMap<u64, Arc<Request>> = HashMap::new();
    for request in scene.origin.take() {
        let seed =
            request.head.one("x-case").expect("every request has its number").parse().expect("a number");
        assert!(arrived.insert(seed, request).is_none(), "request {seed} came twice");
    }
    let paired = answered.into_iter().map(|(case, answer)| {
        let arrived = arrived.remove(&case.seed);
        (case, answer, arrived)
    });
    paired.collect()
}

#[derive(Default)]
struct Tally {
    forwarded: u64,
    refused: u64,
}

/// How many of a batch all judges agreed on; an error tells the first on which one did not.
fn judge(scene: &Scene, botocore: &mut python::Verifier, batch: &Batch) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut accepted = Vec::new();
    for (case, answer, arrived) in batch {
        let failed =
            |judge: &str, why: &str| format!("{judge}: {why}\n{}", judge::story(case, arrived.as_deref()));
        let stage = scene.stage(case);
        let code = answer.head.one("x-countersign-error");
        let refusals = judge::refusals(case);
        let Some(request) = arrived else {
            if !code.is_some_and(|code| refusals.contains(&code)) {
                return Err(failed("the proxy", &format!("answered {code:?}, not one of {refusals:?}")));
            }
            tally.refused += 1;
            continue;
        };
        let whole = match refusals.as_slice() {
            [] if answer.status == 200 => judge::unchanged(case, stage, request),
            [] => Err(format!("the answer is {}", answer.status)),
            codes => Err(format!("was forwarded, and not refused with {codes:?}")),
        };
        let signed = judge::signed(request, stage);
        whole.map_err(|why| failed("the wire", &why))?;
        judge::aws_sigv4(&signed).map_err(|why| failed("aws-sigv4", &why))?;
        judge::gateway(&signed, stage).map_err(|why| failed("the demo's gateway", &why))?;
        tally.forwarded += 1;
        accepted.push((case, request, signed));
    }
    let signed: Vec<_> = accepted.iter().map(|(_, _, signed)| *signed).collect();
    for (verdict, (case, request, _)) in botocore.verify(&signed).into_iter().zip(&accepted) {
        if let Some(why) = verdict {
            return Err(format!("botocore: {why}\n{}", judge::story(case, Some(request))));
        }
    }
    Ok(tally)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}

#[test]
fn independent_verifiers_agree() {
    let wanted = number("COUNTERSIGN_CASES").unwrap_or(10_000);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    // Half of the numbers: none is so high that there is no next.
    let seed = number("COUNTERSIGN_SEED").unwrap_or_else(|| generate::Random::new(now.as_secs()).next() >> 1);
    let scene = &Scene::new();
    let mut senders: Vec<_> = (0..SENDERS).map(|_| Sender::new(scene.proxy.address())).collect();
    let mut total = Tally::default();
    thread::scope(|scope| {
        let (verdicts, judged) = mpsc::channel();
        let (batches, waiting) = mpsc::sync_channel::<Batch>(1);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..JUDGES {
            let (verdicts, waiting) = (verdicts.clone(), Arc::clone(&waiting));
            scope.spawn(move || {
                let mut botocore = python::Verifier::start();
                loop {
                    // Let go of before the batch is judged.
                    let batch = waiting.lock().expect("no thread panics with this lock").recv();
                    let Ok(batch) = batch else { return };
                    if verdicts.send(judge(scene, &mut botocore, &batch)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(verdicts);
        let mut count = |verdict: Result<Tally, String>| {
            let tally = verdict.unwrap_or_else(|failure| panic!("{failure}"));
            total.forwarded += tally.forwarded;
            total.refused += tally.refused;
            total.forwarded
        };
        let (mut next, mut done, mut under_way) = (seed, 0, 0);
        while done < wanted {
            let batch = BATCH.min(wanted - done);
            // What is under way may be all that is wanted.
            if under_way == 0 || done + under_way * BATCH < wanted {
                let sent = send(scene, &mut senders, next..next + batch);
                next += batch;
                under_way += 1;
                batches.send(sent).expect("the judges wait until all is judged");
            } else {
                done = count(judged.recv().expect("a batch is under way"));
                under_way -= 1;
            }
            while let Ok(verdict) = judged.try_recv() {
                done = count(verdict);
                under_way -= 1;
            }
        }
        drop(batches);
        for verdict in judged {
            count(verdict);
        }
    });
    assert_eq!(scene.origin.failures(), Vec::<String>::new());
    // A generator that makes mostly what is refused would prove little.
    assert!(wanted < 100 || total.refused < total.forwarded / 4, "{} were refused", total.refused);
    println!(
        "seed {seed}: {} forwarded requests accepted by aws-sigv4, the demo's verifier and botocore; {} refused, rightly",
        total.forwarded, total.refused
    );
}

/// The other letter: always another one, and never one that a decoder takes for the same.
fn changed(byte: u8) -> u8 {
    if byte == b'a' { b'b' } else { b'a' }
}

/// The judges can say no: each byte of what is signed, changed alone, is noticed by all three, and what is not signed
/// may change.
#[test]
fn a_changed_byte_is_refused_by_every_verifier() {
    let scene = &Scene::new();
    let ask = Ask::new("POST", "/orders/a%2Fb/?tag=b&tag=a+1&q=%C3%BC")
        .header("content-type", "application/json")
        .header("x-amz-meta-a", "one two")
        .header("x-tenant", "blue")
        .header("x-other", "not signed")
        .body("{\"n\": 1}");
    Via::Http1.exchange(scene.proxy.address(), &ask).expect("the proxy answers");
    let sent = scene.origin.next();
    let stage = &scene.stages[0];

    let mut samples: Vec<(String, Request, bool)> = vec![("nothing".to_owned(), (*sent).clone(), true)];
    let mut add = |what: String, fine: bool, change: &dyn Fn(&mut Request)| {
        let mut sample = (*sent).clone();
        change(&mut sample);
        samples.push((what, sample, fine));
    };
    let line_end = sent.head.start.len() - " HTTP/1.1".len();
    for at in (0..line_end).filter(|&at| sent.head.start[at].is_ascii_alphanumeric()) {
        add(format!("byte {at} of the request line"), false, &|r| {
            r.head.start[at] = changed(r.head.start[at])
        });
    }
    for at in 0..sent.body.len() {
        add(format!("byte {at} of the body"), false, &|r| r.body[at] ^= 1);
    }
    for (index, (name, value)) in sent.head.fields.iter().enumerate() {
        let unsigned = ["x-other", "x-request-id", "content-length"].contains(&name.as_str());
        for at in (0..value.len()).filter(|&at| value[at].is_ascii_alphanumeric()) {
            let change = |r: &mut Request| r.head.fields[index].1[at] = changed(value[at]);
            add(format!("byte {at} of {name}"), unsigned, &change);
        }
        add(format!("{name} left out"), unsigned, &|r| drop(r.head.fields.remove(index)));
        let twice = |r: &mut Request| r.head.fields.push((name.clone(), value.clone()));
        add(format!("{name} sent twice"), unsigned, &twice);
    }
    let more = ("x-amz-meta-b".to_owned(), b"added".to_vec());
    // aws-sigv4 is asked what it would sign of the signed names; that more must be signed is the wire's own judge's.
    add("a header that must be signed".to_owned(), false, &|r| r.head.fields.push(more.clone()));
    assert!(samples.len() > 400, "{}", samples.len());

    let signed: Vec<_> = samples.iter().map(|(_, sample, _)| judge::signed(sample, stage)).collect();
    let botocore = python::Verifier::start().verify(&signed);
    for (((what, sample, fine), signed), botocore) in samples.iter().zip(&signed).zip(botocore) {
        let everything_is_signed = judge::is_all_signed(sample, stage);
        let verdicts = [
            ("aws-sigv4", judge::aws_sigv4(signed).is_ok() && everything_is_signed),
            ("the demo's gateway", judge::gateway(signed, stage).is_ok()),
            ("botocore", botocore.is_none()),
        ];
        for (judge, accepted) in verdicts {
            assert_eq!(accepted, *fine, "{judge}, {what}");
        }
    }
}
