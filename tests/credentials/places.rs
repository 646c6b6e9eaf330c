//! Files that are elsewhere, that come later, or whose folders do; and the session of `aws login`, which is one.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};

use countersign::credentials::{Kind, Sources};

use crate::{
    SECRET, get, in_an_hour, keys, profile,
    scene::{endpoint, scene},
    trouble,
};

#[test]
fn files_elsewhere_and_folders_that_come_later_are_watched() {
    let name = "places::files_elsewhere_and_folders_that_come_later_are_watched";
    let variables = |home: &std::path::Path| {
        vec![
            ("AWS_CONFIG_FILE", home.join("etc/aws/config").display().to_string()),
            ("AWS_SHARED_CREDENTIALS_FILE", home.join("volume/credentials").display().to_string()),
        ]
    };
    scene(name, variables, |scene| async move {
        let wanted = [profile("dev"), profile("ops")];
        let sources = Sources::start(&wanted, []).unwrap();
        let (dev, ops) = (sources.current(&wanted[0]), sources.current(&wanted[1]));
        trouble(&dev, Kind::NoProfile).await;
        trouble(&ops, Kind::NoProfile).await;
        // Not where they would be by themselves.
        scene.write(".aws/credentials", &format!("[dev]\n{}", keys("AKIAWRONG")));
        scene.write("etc/aws/config", &format!("[profile dev]\n{}", keys("AKIADEV")));
        get(&dev, "AKIADEV").await;

        // As Kubernetes mounts a secret, and as it replaces it: one link of two is swapped.
        let volume = scene.home.join("volume");
        for key in ["AKIAOPS1", "AKIAOPS2", "AKIAOPS3"] {
            scene.write(&format!("volume/..{key}/credentials"), &format!("[ops]\n{}", keys(key)));
            symlink(format!("..{key}"), volume.join("..tmp")).unwrap();
            fs::rename(volume.join("..tmp"), volume.join("..data")).unwrap();
            if key == "AKIAOPS1" {
                symlink("..data/credentials", volume.join("credentials")).unwrap();
            }
            get(&ops, key).await;
        }
        assert_eq!(scene.said("no usable credentials"), 2, "{}", scene.log());
    });
}

/// What `aws login` leaves behind. The key that binds it is as good as any.
fn session(key: &str, expires: &str) -> String {
    format!(
        "{{\"accessToken\":{{\"accessKeyId\":\"{key}\",\"secretAccessKey\":\"{SECRET}\",\"sessionToken\":\"{SECRET}\",\
         \"accountId\":\"111122223333\",\"expiresAt\":\"{expires}\"}},\"tokenType\":\"aws_sigv4\",\"refreshToken\":\
         \"{SECRET}\",\"clientId\":\"arn:aws:signin:::devtools/same-device\",\"dpopKey\":\"-----BEGIN EC PRIVATE KEY-----\\n\
         MDECAQEEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBoAoGCCqGSM49\\nAwEH\\n-----END EC PRIVATE KEY-----\\n\"}}"
    )
}

#[test]
fn a_login_is_taken_up_from_its_folder_and_one_that_cannot_be_renewed_is_told_from_one_that_is_over() {
    let name = "places::a_login_is_taken_up_from_its_folder_and_one_that_cannot_be_renewed_is_told_from_one_that_is_over";
    let variables = |home: &std::path::Path| {
        vec![
            ("AWS_ENDPOINT_URL_SIGNIN", endpoint(home)),
            ("AWS_LOGIN_CACHE_DIRECTORY", home.join("logins").display().to_string()),
        ]
    };
    scene(name, variables, |scene| async move {
        // The file is named by the SHA-256 of the session.
        let file = "logins/617a42bf0cc7e52ae16d10443f260d451c255a489505091810c95d5c7ec927d1.json";
        let config = "login_session = arn:aws:iam::111122223333:user/ann\nregion = us-west-2\n";
        scene.write(".aws/config", &format!("[profile console]\n{config}"));
        let wanted = profile("console");
        let sources = Sources::start([&wanted], []).unwrap();
        let current = sources.current(&wanted);
        let problem = trouble(&current, Kind::Login).await;
        assert!(problem.hint().contains("`aws login --profile console`"), "{problem}");
        scene.write(file, &session("ASIALOGIN1", &in_an_hour()));
        get(&current, "ASIALOGIN1").await;

        // Over, and to be renewed by a service that is out of order: nobody need log in.
        let over = humantime::format_rfc3339_seconds(SystemTime::now() - Duration::from_secs(60)).to_string();
        scene.write(
            "answers/any",
            "500 Oops\n{\"__type\":\"InternalServerException\",\"error\":\"server_error\",\"message\":\"m\"}",
        );
        scene.write(file, &session("ASIALOGIN2", &over));
        let problem = trouble(&current, Kind::Service).await;
        assert!(problem.hint().contains("tried again by itself"), "{problem}");

        let refusal = |why: &str| {
            format!(
                "400 Bad Request\n{{\"__type\":\"AccessDeniedException\",\"error\":\"{why}\",\"message\":\"m\"}}"
            )
        };
        scene.write("answers/any", &refusal("TOKEN_EXPIRED"));
        trouble(&current, Kind::Login).await;
        scene.write("answers/any", &refusal("INSUFFICIENT_PERMISSIONS"));
        let problem = trouble(&current, Kind::Denied).await;
        assert!(problem.hint().contains("signin:CreateOAuth2Token"), "{problem}");
        scene.write(file, &session("ASIALOGIN3", &in_an_hour()));
        get(&current, "ASIALOGIN3").await;
    });
}

#[test]
fn a_login_that_nobody_can_renew_for_want_of_a_network_is_not_over() {
    let variables = |_: &std::path::Path| vec![("AWS_ENDPOINT_URL_SIGNIN", "http://127.0.0.1:9".to_owned())];
    scene(
        "places::a_login_that_nobody_can_renew_for_want_of_a_network_is_not_over",
        variables,
        |scene| async move {
            let config = "login_session = arn:aws:iam::111122223333:user/ann\nregion = us-west-2\n";
            scene.write(".aws/config", &format!("[profile console]\n{config}"));
            let file =
                ".aws/login/cache/617a42bf0cc7e52ae16d10443f260d451c255a489505091810c95d5c7ec927d1.json";
            scene.write(file, &session("ASIALOGIN", "2026-01-01T00:00:00Z"));
            let wanted = profile("console");
            let sources = Sources::start([&wanted], []).unwrap();
            let problem = trouble(&sources.current(&wanted), Kind::Unreachable).await;
            assert!(problem.hint().contains("the region, which is us-west-2 here"), "{problem}");
        },
    );
}
