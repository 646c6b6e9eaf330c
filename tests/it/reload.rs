//! A changed configuration is taken up without losing a request, a wrong one is reported and changes nothing, and one bad
//! stage takes no other along.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use crate::{
    process::admin,
    support::{
        TempDir,
        client::{Answer, Ask, Client, Via},
        h2c,
        origin::{Origin, Then, answer},
        process::{Countersign, Launch},
        scene::{ACCESS_KEY, NAME, SECRET, Setup, assert_refusal, assert_signed, ok},
    },
};

const TAKEN_UP: &str = "the configuration is taken up";
const REFUSED: &str = "the configuration is not taken up";
const FILE: &str = "countersign.toml";

fn get(target: &str) -> Ask {
    Ask::new("GET", target)
}

/// A configuration with these stages before plain origins: name, mount, origin, more lines.
fn text(top: &str, stages: &[(&str, &str, &Origin, &str)]) -> String {
    let stages = stages.iter().map(|(name, mount, origin, more)| {
        format!(
            "[[stage]]\nname = \"{name}\"\nmount = \"{mount}\"\nurl = \"http://{}/{name}\"\nregion = \"us-west-2\"\n{more}\n",
            origin.address()
        )
    });
    let listen = if top.contains("listen =") { "" } else { "listen = \"127.0.0.1:0\"\n" };
    format!("{listen}admin = \"127.0.0.1:0\"\n{top}\n{}", stages.collect::<String>())
}

fn start(text: &str) -> Countersign {
    Launch::config(text).keys(ACCESS_KEY, SECRET).start()
}

/// Waits until a line with this text has come so many times.
fn said(proxy: &Countersign, part: &str, times: usize) -> String {
    let mut seen = 0;
    let found = proxy.process().find(|line| {
        seen += usize::from(line.contains(part));
        (seen == times).then(|| line.to_owned())
    });
    found.unwrap_or_else(|| panic!("it ended: {}", proxy.process().output()))
}

/// Replaces the configuration as an editor does: another file in its place.
fn replace(proxy: &Countersign, text: &str) {
    let next = proxy.home().write("next.toml", text);
    fs::rename(next, proxy.home().path().join(FILE)).unwrap();
}

fn scrape(admin: SocketAddr) -> String {
    Via::Http1.exchange(admin, &get("/metrics")).unwrap().text().to_owned()
}

/// What a stage answers whose `ca_bundle` is not there.
pub fn unavailable() -> Answer {
    let other = Origin::plain(ok);
    let bad = format!(
        "[[stage]]\nname = \"b\"\nmount = \"/b\"\nurl = \"https://{NAME}/prod\"\nca_bundle = \"/nowhere\"\n"
    );
    let proxy = start(&format!("{}{bad}", text("", &[("a", "/", &other, "")])));
    Via::Http1.exchange(proxy.address(), &get("/b/a")).unwrap()
}

#[test]
fn a_changed_file_is_taken_up_by_connections_that_are_kept() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let old = Origin::plain(move |request, reply| {
        if request.target() == b"/a/held" {
            gone.lock().unwrap().recv().unwrap();
        }
        ok(request, reply)
    });
    let (new, third) = (Origin::plain(ok), Origin::plain(ok));
    for workers in ["workers = 1", "workers = 2"] {
        let proxy = start(&text(workers, &[("a", "/", &old, ""), ("c", "/c", &third, "")]));
        let mut http1 = Client::connect(proxy.address()).unwrap();
        let http2 = h2c::Client::connect(proxy.address()).unwrap();
        let mut kept = Client::connect(proxy.address()).unwrap();
        assert_eq!(http1.exchange(&get("/1")).unwrap().status, 200);
        assert_eq!(http2.exchange(&get("/2")).unwrap().status, 200);
        assert_eq!(kept.exchange(&get("/c/1")).unwrap().status, 200);
        assert_eq!([old.next(), old.next()].map(|request| request.target().to_vec()), [b"/a/1", b"/a/2"]);
        third.next();
        let connections = third.connections();
        let mut held = Client::connect(proxy.address()).unwrap();
        held.send(&get("/held").bytes()).unwrap();
        old.next();

        // The file is written in place, as a shell does.
        proxy.home().write(FILE, &text(workers, &[("b", "/", &new, ""), ("c", "/c", &third, "")]));
        said(&proxy, TAKEN_UP, 1);
        assert_eq!(http1.exchange(&get("/3")).unwrap().status, 200);
        assert_eq!(http2.exchange(&get("/4")).unwrap().status, 200);
        for target in [b"/b/3", b"/b/4"] {
            let request = new.next();
            assert_eq!(request.target(), target);
            assert_signed(&request);
        }
        // A stage that is as it was keeps its connections.
        assert_eq!(kept.exchange(&get("/c/2")).unwrap().status, 200);
        third.next();
        assert_eq!(third.connections(), connections);
        // What was under way ends where it began; then nothing leads there any more.
        go.send(()).unwrap();
        assert_eq!(held.answer("GET").unwrap().text(), "ok");
        while old.open() > 0 {
            thread::yield_now();
        }
        assert_eq!(old.take().len(), 0);
        // What a stage counted is still there, and the new one is counted.
        let metrics = scrape(admin(proxy.process()));
        for (stage, count) in [("a", 3), ("b", 2), ("c", 2)] {
            let series = format!(
                "countersign_requests_total{{stage=\"{stage}\",route=\"default\",origin=\"stage\",status=\"2xx\"}} {count}"
            );
            assert!(metrics.contains(&series), "{series}\n{metrics}");
        }
        assert!(metrics.contains("countersign_config_reloads_total{outcome=\"applied\"} 1"), "{metrics}");
        assert_eq!(proxy.terminate().code, Some(0));
    }
}

#[test]
fn sighup_reads_everything_again_and_limits_change() {
    let origin = Origin::plain(ok);
    let proxy = start(&text("limits.max_body = \"4B\"", &[("a", "/", &origin, "")]));
    let mut client = Client::connect(proxy.address()).unwrap();
    let ask = Ask::new("PUT", "/x").body("12345");
    assert_refusal(&Via::Http1.exchange(proxy.address(), &ask).unwrap(), 413, "body-too-large");
    proxy.process().signal("HUP");
    said(&proxy, TAKEN_UP, 1);
    replace(
        &proxy,
        &text("limits = { max_body = \"5B\", idle_timeout = \"1s\" }", &[("a", "/", &origin, "")]),
    );
    proxy.process().signal("HUP");
    said(&proxy, TAKEN_UP, 2);
    assert_eq!(client.exchange(&ask).unwrap().status, 200);
    // It ends for having been idle.
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn a_wrong_file_is_reported_once_and_the_old_one_stays() {
    let origin = Origin::plain(ok);
    let good = text("", &[("a", "/", &origin, "")]);
    let proxy = start(&good);
    let health = admin(proxy.process());
    let mut client = Client::connect(proxy.address()).unwrap();
    // As it is found half-way through being written; and with a secret near by.
    replace(
        &proxy,
        "listen = \"127.0.0.1:0\"\n[[stage]]\nurl = 5\napi_key.value = \"hunter2-in-the-file\"\nmont = 1\n",
    );
    let line = said(&proxy, REFUSED, 1);
    assert!(line.contains("url") && line.contains("mount"), "{line}");
    for _ in 0..3 {
        proxy.process().signal("HUP");
    }
    let rejected = "countersign_config_reloads_total{outcome=\"rejected\"}";
    let again = |count: u32| format!("{rejected} {count}");
    while !(2..5).any(|count| scrape(health).contains(&again(count))) {
        thread::yield_now();
    }
    let ready = Via::Http1.exchange(health, &get("/readyz")).unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert!(ready.json()["configuration"].as_str().unwrap().contains("url"), "{}", ready.text());
    assert_eq!(client.exchange(&get("/x")).unwrap().status, 200);

    replace(&proxy, &good);
    said(&proxy, TAKEN_UP, 1);
    let ready = Via::Http1.exchange(health, &get("/readyz")).unwrap();
    assert_eq!(ready.json().get("configuration"), None, "{}", ready.text());
    assert_eq!(client.exchange(&get("/x")).unwrap().status, 200);
    let output = proxy.process().output();
    assert_eq!(output.matches(REFUSED).count(), 1, "{output}");
    assert!(!output.contains("hunter2"), "{output}");

    // The same mistake, made anew, is news.
    fs::remove_file(proxy.home().path().join(FILE)).unwrap();
    said(&proxy, REFUSED, 2);
    assert_eq!(client.exchange(&get("/x")).unwrap().status, 200);
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    const RELOADS: usize = 30;
    let (one, two) = (Origin::plain(ok), Origin::plain(ok));
    let versions = [
        text("workers = 2", &[("a", "/", &one, "")]),
        text("workers = 2\nguard.allowed_origins = [\"http://a.example\"]", &[("a", "/", &two, "")]),
        text("workers = 2\nlimits.max_in_flight = 99", &[("a", "/", &two, ""), ("b", "/b", &one, "")]),
    ];
    let proxy = start(&versions[0]);
    let (address, stop, sent) = (proxy.address(), AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for via in [Via::Http1, Via::H2c, Via::Http1] {
            let (stop, sent) = (&stop, &sent);
            scope.spawn(move || {
                let (mut http1, http2) =
                    (Client::connect(address).unwrap(), h2c::Client::connect(address).unwrap());
                while !stop.load(Ordering::Relaxed) {
                    let ask = Ask::new("POST", "/x").body("x");
                    let answer = match via {
                        Via::Http1 => http1.exchange(&ask).unwrap(),
                        Via::H2c => http2.exchange(&ask).unwrap(),
                    };
                    assert_eq!(answer.text(), "ok");
                    // On a connection of its own as well.
                    assert_eq!(via.exchange(address, &ask).unwrap().text(), "ok");
                    sent.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        // Whatever goes wrong here, the others are to end.
        let reloading = scope.spawn(|| {
            for count in 1..=RELOADS {
                replace(&proxy, &versions[count % versions.len()]);
                let before = sent.load(Ordering::Relaxed);
                proxy.process().signal("HUP");
                said(&proxy, TAKEN_UP, count);
                while sent.load(Ordering::Relaxed) < before + 6 {
                    thread::yield_now();
                }
            }
        });
        let reloaded = reloading.join();
        stop.store(true, Ordering::Relaxed);
        reloaded.unwrap();
    });
    let arrived = one.take().len() + two.take().len();
    assert_eq!(arrived, sent.load(Ordering::Relaxed), "each arrives once");
}

#[test]
fn what_needs_a_restart_is_said_and_the_rest_is_taken_up() {
    let (one, two) = (Origin::plain(ok), Origin::plain(ok));
    let proxy = start(&text("", &[("a", "/", &one, "")]));
    let top = "listen = \"127.0.0.1:1\"\nworkers = 3\ntls = \"self-signed\"\nlog.format = \"text\"";
    replace(&proxy, &text(top, &[("a", "/", &two, "")]));
    let line = said(&proxy, "needs a restart", 1);
    for setting in ["listen", "workers", "tls", "log.format"] {
        assert!(line.contains(setting), "{line}");
    }
    said(&proxy, TAKEN_UP, 1);
    assert_eq!(Via::Http1.exchange(proxy.address(), &get("/x")).unwrap().status, 200);
    assert_eq!(two.next().target(), b"/a/x");
}

#[test]
fn a_volume_whose_link_is_swapped_is_taken_up() {
    let (one, two) = (Origin::plain(ok), Origin::plain(ok));
    let folder = TempDir::new();
    // As Kubernetes lays a ConfigMap out.
    folder.write("..1/countersign.toml", &text("", &[("a", "/", &one, "")]));
    folder.write("..2/countersign.toml", &text("", &[("a", "/", &two, "")]));
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    link("..1", "..data");
    link("..data/countersign.toml", FILE);
    let file = folder.path().join(FILE);
    let proxy =
        Launch::arguments(["run", "--config", file.to_str().unwrap()]).keys(ACCESS_KEY, SECRET).start();
    assert_eq!(Via::Http1.exchange(proxy.address(), &get("/1")).unwrap().status, 200);
    assert_eq!(one.next().target(), b"/a/1");
    link("..2", "..next");
    fs::rename(folder.path().join("..next"), folder.path().join("..data")).unwrap();
    said(&proxy, TAKEN_UP, 1);
    assert_eq!(Via::Http1.exchange(proxy.address(), &get("/2")).unwrap().status, 200);
    assert_eq!(two.next().target(), b"/a/2");
}

#[test]
fn a_changed_certificate_is_shown_to_new_connections() {
    let folder = TempDir::new();
    let pair = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let cert = folder.write(&format!("{name}.pem"), &made.cert.pem());
        (cert, folder.write(&format!("{name}.key"), &made.signing_key.serialize_pem()))
    };
    let copy = |(cert, key): &(PathBuf, PathBuf)| {
        fs::copy(cert, folder.path().join("used.pem")).unwrap();
        fs::copy(key, folder.path().join("used.key")).unwrap();
    };
    let (first, second) = (pair("1"), pair("2"));
    copy(&first);
    let used = |name: &str| folder.path().join(name).display().to_string();
    let top = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", used("used.pem"), used("used.key"));
    let scene = Setup::new().top(&top).start_ok();
    let connect = |trusted: &Path| Client::connect_tls(scene.proxy.address(), trusted);
    let mut before = connect(&first.0).unwrap();
    assert_eq!(before.exchange(&get("/a")).unwrap().status, 200);

    // A certificate without its key is a mistake, and the pair that is in use stays.
    fs::copy(&second.0, folder.path().join("used.pem")).unwrap();
    said(&scene.proxy, REFUSED, 1);
    connect(&first.0).unwrap();
    copy(&second);
    said(&scene.proxy, TAKEN_UP, 1);
    assert_eq!(connect(&second.0).unwrap().exchange(&get("/a")).unwrap().status, 200);
    assert!(connect(&first.0).is_err());
    assert_eq!(before.exchange(&get("/a")).unwrap().status, 200);
}

#[test]
fn one_bad_stage_does_not_take_the_good_ones_down() {
    let origin = Origin::tls(&[NAME], |request, reply| {
        reply.send(answer("200 OK", &[], request.target()))?;
        Ok(Then::Keep)
    });
    let folder = TempDir::new();
    let bundle = folder.path().join("ca.pem");
    let stage = |mount: &str, ca: &Path| {
        format!(
            "[[stage]]\nname = \"{}\"\nmount = \"{mount}\"\nurl = \"https://{NAME}/prod\"\nconnect_to = \"{}\"\n\
             ca_bundle = \"{}\"\n",
            mount.trim_start_matches('/'),
            origin.address(),
            ca.display()
        )
    };
    let top = "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n";
    let proxy = start(&format!(
        "{top}{}{}[[stage]]\nname = \"nameless\"\nmount = \"/nameless\"\nurl = \"https://api.invalid\"\nregion = \"us-west-2\"\n\
         [[stage]]\nname = \"keyless\"\nmount = \"/keyless\"\nurl = \"https://{NAME}/prod\"\nprofile = \"nobody\"\n",
        stage("/good", origin.ca()),
        stage("/bad", &bundle)
    ));
    let ask = |target: &str| Via::Http1.exchange(proxy.address(), &get(target)).unwrap();
    assert_eq!(ask("/good/a").text(), "/prod/a");
    let refused = ask("/bad/a");
    assert_refusal(&refused, 503, "stage-unavailable");
    assert!(refused.text().contains("ca.pem"), "{}", refused.text());
    assert_refusal(&ask("/nameless/a"), 502, "upstream-name");
    assert_refusal(&ask("/keyless/a"), 503, "no-credentials");
    let output = proxy.process().output();
    assert!(output.contains("this stage answers 503"), "{output}");

    // Mended, it is served; broken again, what was read stays.
    fs::copy(origin.ca(), &bundle).unwrap();
    said(&proxy, TAKEN_UP, 1);
    assert_eq!(ask("/bad/a").text(), "/prod/a");
    fs::write(&bundle, "half a certific").unwrap();
    said(&proxy, "stays in use", 1);
    said(&proxy, TAKEN_UP, 2);
    assert_eq!(ask("/bad/b").text(), "/prod/b");

    // Without any that can be served there is nothing to start for.
    fs::remove_file(&bundle).unwrap();
    let ended = Launch::config(&format!("{top}{}{}", stage("/a", &bundle), stage("/b", &bundle)))
        .keys(ACCESS_KEY, SECRET)
        .run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("ca.pem"), "{ended:?}");
}
