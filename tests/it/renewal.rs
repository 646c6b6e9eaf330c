//! What no single answer tells: a clock that only dates show, a source that comes up late, one login for several
//! sources, and whose keys it is that a refusal speaks of.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use countersign::sigv4::parse_amz_date;

use crate::{
    healing::{Stage, heard, said, session, sts, succeeds},
    support::{
        client::{Ask, Via},
        origin::{Origin, Reply, Request, Then, answer},
        scene::{SECRET, Scene, Setup, TOKEN, assert_refusal, ok},
    },
};

const HOUR: Duration = Duration::from_secs(3600);

/// Whether a gateway whose clock shows `now` takes this signature's date.
fn is_current(request: &Request, now: SystemTime) -> bool {
    let signed = parse_amz_date(request.head.one("x-amz-date").unwrap()).unwrap();
    let apart = signed.duration_since(now).or_else(|_| now.duration_since(signed)).unwrap();
    apart <= Duration::from_secs(300)
}

const FORBIDDEN: &str = r#"{"message":"Forbidden"}"#;

#[test]
fn an_http_apis_forbidden_is_healed_when_its_date_tells_why() {
    let behind = |request: &Request, reply: &mut Reply<'_>| -> io::Result<Then> {
        let now = SystemTime::now() + 2 * HOUR;
        let date = httpdate::fmt_http_date(now);
        let (status, body) =
            if is_current(request, now) { ("200 OK", "ok") } else { ("403 Forbidden", FORBIDDEN) };
        reply.send(answer(status, &[("content-type", "application/json"), ("date", &date)], body))?;
        Ok(Then::Keep)
    };
    let scene = Setup::new().start(behind);
    assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/a")).status, 200);
    assert_eq!(scene.origin.take().len(), 2);
    assert_eq!(scene.ask(Via::H2c, &Ask::new("POST", "/a").body("b")).status, 200);
    assert_eq!(scene.origin.take().len(), 1, "it was learned");
    assert_eq!(said(&scene.proxy, "120 minutes behind"), 1);

    // What acts is not sent again: nothing says that it was the gateway. The next one is served.
    let scene = Setup::new().start(behind);
    let ask = Ask::new("POST", "/a").body("b");
    let refused = scene.ask(Via::Http1, &ask);
    assert_eq!((refused.status, refused.text()), (403, FORBIDDEN));
    assert_eq!(scene.ask(Via::Http1, &ask).status, 200);
    assert_eq!(scene.origin.take().len(), 2);

    // A date that every gateway takes is no reason.
    let scene = Setup::new().start(|_, reply| {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(200));
        reply.send(answer(
            "403 Forbidden",
            &[("content-type", "application/json"), ("date", &date)],
            FORBIDDEN,
        ))?;
        Ok(Then::Keep)
    });
    assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/a")).status, 403);
    assert_eq!((scene.origin.take().len(), said(&scene.proxy, "minutes behind")), (1, 0));
}

#[test]
fn a_clock_that_is_ahead_by_more_than_a_session_lives_is_told_by_sts() {
    // For everybody else it is two hours ago.
    let sts = Origin::plain(|_, reply| {
        let (now, ends) = (SystemTime::now() - 2 * HOUR, SystemTime::now() - HOUR);
        let ends = humantime::format_rfc3339_seconds(ends);
        let assumed = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/caller/x</Arn><AssumedRoleId>AROA:x\
             </AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>ASIAKEY</AccessKeyId><SecretAccessKey>\
             {SECRET}</SecretAccessKey><SessionToken>{TOKEN}-ASIAKEY</SessionToken><Expiration>{ends}</Expiration>\
             </Credentials></AssumeRoleResult></AssumeRoleResponse>"
        );
        let date = httpdate::fmt_http_date(now);
        reply.send(answer("200 OK", &[("content-type", "text/xml"), ("date", &date)], assumed))?;
        Ok(Then::Keep)
    });
    let stage = Stage::start(vec![session("ASIAKEY", None)]);
    stage.running.clock.set_offset(-7200);
    let proxy = stage
        .launch("role.arn = \"arn:aws:iam::111122223333:role/caller\"")
        .keys("AKIDBASE", SECRET)
        .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
        .start();
    heard(&proxy, "credentials are ready");
    for via in Via::ALL {
        succeeds(&proxy, via);
        assert_eq!(stage.verdicts(), [None], "signed by the right time from the first request on");
    }
    assert_eq!((said(&proxy, "120 minutes ahead"), said(&proxy, "no usable credentials")), (1, 0));
}

#[test]
fn a_source_that_comes_up_late_is_waited_for() {
    let up = Arc::new(AtomicBool::new(false));
    let sts = sts(&up, 3600);
    let stage = Stage::start(vec![session("ASIAKEY", None)]);
    let proxy = stage
        .launch("role.arn = \"arn:aws:iam::111122223333:role/caller\"")
        .keys("AKIDBASE", SECRET)
        .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
        .start();
    heard(&proxy, "no usable credentials");
    up.store(true, Ordering::SeqCst);
    succeeds(&proxy, Via::Http1);
}

fn logins(scene: &Scene) -> usize {
    fs::read_to_string(scene.proxy.home().path().join("logins")).unwrap_or_default().lines().count()
}

#[test]
fn sources_with_one_login_command_share_one_login() {
    let up = Arc::new(AtomicBool::new(true));
    let sts = sts(&up, 3600);
    let sso = "[profile dev]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = dev\n\
               [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n";
    let keys = format!("[profile dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = {SECRET}\n");
    // Waits until the test opens the pipe.
    let script = "echo login >> logins; mkfifo gate.new; mv gate.new gate; read line < gate; mv after-login .aws/config";
    let of = |role: &str| {
        format!(
            "profile = \"dev\"\nrole.arn = \"arn:aws:iam::111122223333:role/{role}\"\nlogin_command = [\"sh\", \"-c\", \
             \"{script}\"]"
        )
    };
    let two = "[[stage]]\nname = \"two\"\nurl = \"https://abc123.execute-api.us-west-2.amazonaws.com/two\"\nmount = \"/two\"\n\
               {dial}";
    let scene = Setup::new()
        .without_keys()
        .stage(&format!("{}\n{two}\n{}", of("one"), of("two")))
        .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
        .file(".aws/config", sso)
        .file("after-login", &keys)
        .start_ok();
    for path in ["/a", "/two/a"] {
        loop {
            let refused = scene.ask(Via::Http1, &Ask::new("GET", path));
            assert_refusal(&refused, 503, "no-credentials");
            if refused.text().contains("a login is under way") {
                break;
            }
        }
    }
    while !scene.proxy.home().path().join("gate").exists() {}
    assert_eq!(logins(&scene), 1);
    let mut gate = OpenOptions::new().write(true).open(scene.proxy.home().path().join("gate")).unwrap();
    gate.write_all(b"done\n").unwrap();
    for path in ["/a", "/two/a"] {
        loop {
            let answer = scene.ask(Via::Http1, &Ask::new("GET", path));
            if answer.status == 200 {
                break;
            }
            assert_refusal(&answer, 503, "no-credentials");
        }
    }
    assert_eq!((logins(&scene), said(&scene.proxy, "a login was begun")), (1, 1));
}

#[test]
fn an_integration_that_speaks_of_keys_of_its_own_has_nobody_log_in() {
    const EXPIRED: &str = r#"{"message":"The security token included in the request is expired"}"#;
    let keys =
        |key: &str| format!("[profile dev]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n");
    for marked in [false, true] {
        let stage = "profile = \"dev\"\nlogin_command = [\"sh\", \"-c\", \"echo login >> logins\"]";
        let scene = Setup::new().without_keys().stage(stage).file(".aws/config", &keys("AKIDDEV")).start(
            move |request, reply| {
                if request.target().ends_with(b"/fine") {
                    return ok(request, reply);
                }
                let fields =
                    [("content-type", "application/json"), ("x-amzn-errortype", "ExpiredTokenException")];
                reply.send(answer("403 Forbidden", &fields[..=usize::from(marked)], EXPIRED))?;
                Ok(Then::Keep)
            },
        );
        heard(&scene.proxy, "credentials are ready");
        for via in Via::ALL {
            let refused = scene.ask(via, &Ask::new("GET", "/a"));
            assert_eq!((refused.status, refused.text()), (403, EXPIRED));
        }
        if marked {
            heard(&scene.proxy, "a login was begun");
        }
        scene.proxy.home().write(".aws/config", &keys("AKIDNEW"));
        let mut ready = 0;
        scene.proxy.process().find(|line| {
            ready += usize::from(line.contains("credentials are ready"));
            (ready == 2).then_some(())
        });
        assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/fine")).status, 200);
        assert_eq!(said(&scene.proxy, "a login was begun"), usize::from(marked));
    }
}
