//! `deploy/ratelimit` on top of the demo: the limit is counted in Redis, and requests pass while it cannot be.

use std::fs;

use serde_json::json;

use super::configuration::write_keys;
use crate::client::{Answer, ApiClient};
use crate::engine::{SHOW, assert_confined};
use crate::stack::{RATE_LIMIT, Stack};

pub(crate) fn limit_is_counted_in_redis(stack: &Stack<'_>) {
    let limits = stack.path("deploy/ratelimit/config.yaml");
    let shipped = fs::read_to_string(&limits).expect("copied");
    let few = shipped.replace(
        "unit: minute, requests_per_unit: 60",
        "unit: day, requests_per_unit: 3",
    );
    assert_ne!(few, shipped);
    fs::write(&limits, few).expect("the folder is writable");
    let client = |name: &str| stack.client().with_key(&format!("sk-of-{name}-0123456789"));
    let (ann, ben) = (client("ann"), client("ben"));
    write_keys(
        stack,
        &json!([{"id": "ann", "key": ann.key}, {"id": "ben", "key": ben.key}]),
    );
    stack.choose("demo", &[RATE_LIMIT]);
    stack.compose(&["up", "--detach"]);

    // Requests pass uncounted until the service answers.
    wait_for_status(&ann, 429);
    let refused = ann.chat("Hi.").json();
    assert_eq!(refused["error"]["code"], "rate_limited", "{refused}");
    for _ in 0..3 {
        assert_eq!(ben.chat("Hi.").status, 200, "a limit of its own");
    }
    assert_eq!(ben.chat("Hi.").status, 429);

    // Neither Envoy nor the service has the counts.
    for service in ["envoy", "ratelimit"] {
        let _ = stack.try_compose(&["exec", "-T", service, "sh", "-c", "kill -9 -1"]);
        wait_for_status(&ann, 429);
    }
    stack.compose(&["stop", "redis"]);
    wait_for_status(&ann, 200);
    stack.compose(&["up", "--detach"]);
    wait_for_status(&ann, 429);
    for service in ["ratelimit", "redis"] {
        assert_confined(service, &stack.exec(service, SHOW));
    }
    fs::write(&limits, shipped).expect("the folder is writable");
}

fn wait_for_status(client: &ApiClient, status: u16) {
    let fits = |answer: &Answer| answer.status == status;
    client.wait_for(|| client.chat("Hi."), fits);
}
