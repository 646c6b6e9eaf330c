//! Only what is configured is lent out: `allow`, `deny` and `read_only` of a stage hold for the path that is forwarded,
//! in whatever spelling, for signed routes and others, and what they refuse never reaches the stage.

use crate::support::{
    client::{Ask, Via},
    scene::{Scene, Setup},
};

fn refused(scene: &Scene, via: Via, request: &str) -> serde_json::Value {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    scene.refused(via, &Ask::new(method, path), 403, "not-lent").json()
}

fn sent(scene: &Scene, via: Via, request: &str) {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    assert_eq!(scene.sent(via, &Ask::new(method, path)).method(), method);
}

#[test]
fn only_what_is_allowed_is_lent_out() {
    let scene =
        Setup::new().stage("allow = [\"GET|HEAD /orders/*\", \"POST /orders\", \"* /health\"]").start_ok();
    for via in Via::ALL {
        for request in [
            "GET /orders/1",
            "HEAD /orders/1/lines",
            "GET //orders//%31/?x=/admin",
            "GET /orders/a%2Fb",
            "POST /orders",
            "DELETE /health",
        ] {
            sent(&scene, via, request);
        }
        for request in [
            "GET /orders",
            "PUT /orders/1",
            "POST /orders/1",
            "GET /Orders/1",
            "GET /",
            "GET /orders%2F1",
            "GET /orders%252F1",
            "POST /orders;x",
            "GET /%256Frders/1",
            "GET /admin?/orders/1",
            "GET /orders/%00",
        ] {
            refused(&scene, via, request);
        }
        let body = refused(&scene, via, "PUT /orders/1");
        let message = body["message"].as_str().unwrap();
        assert!(message.starts_with("PUT /orders/1 is not lent out by the stage"), "{message}");
        assert!(message.contains("no rule of stage.allow"), "{message}");
        assert!(body["hint"].as_str().unwrap().contains("allow"), "{body}");
    }
}

#[test]
fn what_is_denied_is_refused_in_every_spelling() {
    let scene = Setup::new()
        .stage("mount = \"/m\"\nallow = [\"* /*\"]\ndeny = [\"* /admin/*\", \"DELETE /orders/{id}\"]")
        .start_ok();
    for via in Via::ALL {
        for request in [
            "GET /m/admin/x",
            "GET /m/admin/",
            "GET //m//admin///x/y",
            "GET /m/%61dmin/x",
            "GET /%6d/%2561dmin/x",
            "GET /m/ADMIN/x",
            "GET /m/admin%2Fx",
            "GET /m/admin%252fx",
            "GET /m/admin%5Cx",
            "GET /m/admin;v=1/x",
            "GET /m/admin%3Bv/x",
            "GET /m/;v/admin/x?y",
            "GET /m/admin/%252561",
            "DELETE /m/orders/7",
            "DELETE /m/orders/7/",
            "DELETE /m/orders%2f7",
        ] {
            refused(&scene, via, request);
        }
        // Below no mount, and so sent nowhere.
        scene.refused(via, &Ask::new("GET", "/m%2F/admin/x"), 404, "no-stage");
        let body = refused(&scene, via, "DELETE /m/orders/7");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains("\"DELETE /orders/{id}\" of stage.deny"), "{message}");
        for request in
            ["GET /m/admin", "GET /m/orders/7", "DELETE /m/orders/7/lines", "GET /m/x/admin/y", "GET /m"]
        {
            sent(&scene, via, request);
        }
    }
}

#[test]
fn read_only_lets_nothing_be_changed() {
    let scene = Setup::new().stage("read_only = true\ndeny = [\"* /secret\"]").start_ok();
    for via in Via::ALL {
        for request in ["GET /a", "HEAD /a", "OPTIONS /a"] {
            sent(&scene, via, request);
        }
        for request in ["POST /a", "PUT /a", "PATCH /a", "DELETE /a", "PROPFIND /a", "GET /secret"] {
            refused(&scene, via, request);
        }
        let body = refused(&scene, via, "POST /a");
        assert!(body["message"].as_str().unwrap().contains("stage.read_only"), "{body}");
    }
}

#[test]
fn rules_hold_for_routes_without_a_signature_and_for_their_stage_alone() {
    let other = "url = \"https://other.execute-api.us-west-2.amazonaws.com/v1\"\nmount = \"/other\"";
    let stage = format!(
        "mount = \"/m\"\nallow = [\"GET /open\"]\n[[stage.route]]\npath = \"/open/*\"\nauth = \"none\"\n\
         [[stage.route]]\npath = \"/open\"\nauth = \"none\"\n[[stage]]\n{other}\n{{dial}}"
    );
    let origin = crate::support::origin::Options {
        names: vec![
            crate::support::scene::NAME.to_owned(),
            "other.execute-api.us-west-2.amazonaws.com".to_owned(),
        ],
        ..Default::default()
    };
    let scene = Setup::new().stage(&stage).origin(origin).start_ok();
    for via in Via::ALL {
        sent(&scene, via, "GET /m/open");
        refused(&scene, via, "GET /m/open/1");
        refused(&scene, via, "get /m/open");
        refused(&scene, via, "POST /m/open");
        sent(&scene, via, "POST /other/open/1");
    }
}

#[test]
fn no_header_changes_the_method_that_was_checked() {
    let scene = Setup::new().stage("allow = [\"POST /a\"]").start_ok();
    let free = Setup::new().start_ok();
    for via in Via::ALL {
        for name in ["x-http-method", "x-method-override", "x_http_method", "x-http-method-override"] {
            let ask = Ask::new("POST", "/a").header(name, "DELETE");
            scene.refused(via, &ask, 403, "method-override");
        }
        // Without rules nothing was checked, and API Gateway does not obey it.
        let passed = free.sent(via, &Ask::new("POST", "/a").header("x-method-override", "DELETE"));
        assert_eq!(passed.head.one("x-method-override"), Some("DELETE"));
    }
}
