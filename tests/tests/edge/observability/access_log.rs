//! Envoy's access log: one JSON line per request, with the fields that operators need and without secrets.
//! Follows `access_log` in `envoy.yaml`.

use serde_json::{Value, json};
use tests::http::{Version, bearer, get, post, raw, with};
use tests::upstream::Behavior;

use crate::stack::{CHAT, GUARDED, KEY, listed_models, raw_request, start, start_with};

fn with_id<'a>(id: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |entry| entry["request_id"] == id
}

#[tokio::test]
async fn forwarded_request_logs_every_field() {
    let (upstream, envoy) = start().await;
    let body = json!({"model": "codex-5", "messages": []}).to_string();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("x-request-id", "forwarded"),
        ("user-agent", "a \"client\"/1"),
        ("traceparent", traceparent),
    ];
    let request = headers.into_iter().fold(
        bearer(post(&format!("{CHAT}?api_key=secret"), body.clone()), KEY),
        |request, (name, value)| with(request, name, value),
    );
    let response = envoy
        .connect(Version::H1)
        .await
        .send(request)
        .await
        .unwrap();
    let entry = envoy.access_log_entry(with_id("forwarded")).await;
    let mut fields = entry.as_object().unwrap().clone();
    for (name, minimum) in [("request_ms", 0), ("first_byte_ms", 0), ("duration_ms", 0)] {
        let value = fields.remove(name).unwrap();
        assert!(
            value.as_u64().is_some_and(|millis| millis >= minimum),
            "{name} is {value}"
        );
    }
    assert!(
        fields
            .remove("time")
            .unwrap()
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    let expected = json!({
        "request_id": "forwarded", "traceparent": traceparent, "client": "default", "reason": null,
        "method": "POST", "path": CHAT, "protocol": "HTTP/1.1",
        "status": 200, "details": "via_upstream", "flags": "-",
        "bytes_received": body.len(), "bytes_sent": response.body.len(),
        "peer": "127.0.0.1", "upstream": upstream.socket(), "user_agent": "a \"client\"/1",
    });
    assert_eq!(Value::from(fields), expected);
}

#[tokio::test]
async fn rejection_logs_its_reason() {
    let (_upstream, envoy) = start_with(Behavior::Echo, listed_models).await;
    let mut client = envoy.connect(Version::H2).await;
    client
        .send(with(get(GUARDED), "x-request-id", "no-key"))
        .await
        .unwrap();
    let entry = envoy.access_log_entry(with_id("no-key")).await;
    assert_eq!(entry["reason"], "invalid_api_key");
    assert_eq!(
        (&entry["status"], &entry["client"], &entry["upstream"]),
        (&json!(401), &Value::Null, &Value::Null)
    );
    let request = bearer(post(CHAT, r#"{"model":"unheard-of"}"#), KEY);
    client
        .send(with(request, "x-request-id", "model"))
        .await
        .unwrap();
    let entry = envoy.access_log_entry(with_id("model")).await;
    assert_eq!(
        (&entry["reason"], &entry["client"]),
        (&json!("model_not_found"), &json!("default"))
    );
}

#[tokio::test]
async fn unparsable_request_is_logged() {
    let (_upstream, envoy) = start().await;
    raw(envoy.address(), b"what?\r\n\r\n").await;
    let entry = envoy.access_log_entry(|entry| entry["status"] == 400).await;
    assert_eq!(
        (&entry["flags"], &entry["method"]),
        (&json!("DPE"), &Value::Null)
    );
    assert_eq!(entry["details"], "http1.codec_error");
}

#[tokio::test]
async fn keys_and_queries_are_not_logged() {
    let (_upstream, envoy) = start().await;
    let mut client = envoy.connect(Version::H1).await;
    for (id, key) in [("right", KEY), ("wrong", "a-wrong-secret-key")] {
        let request = bearer(get(&format!("{GUARDED}?api_key={key}")), key);
        client
            .send(with(request, "x-request-id", id))
            .await
            .unwrap();
        envoy.access_log_entry(with_id(id)).await;
    }
    raw(
        envoy.address(),
        &raw_request("GET /v1%2fmodels?api_key=secret HTTP/1.1", "", ""),
    )
    .await;
    envoy.access_log_entry(|entry| entry["status"] == 400).await;
    let logs = format!("{:?}{}", envoy.access_log(), envoy.stderr());
    for secret in [KEY, "secret", "api_key="] {
        assert!(!logs.contains(secret), "{secret} in {logs}");
    }
}

#[tokio::test]
async fn long_and_binary_values_stay_one_json_line() {
    let (_upstream, envoy) = start().await;
    let request = with(
        get(&format!("/{}", "p".repeat(5000))),
        "user-agent",
        &"u".repeat(5000),
    );
    envoy
        .connect(Version::H1)
        .await
        .send(with(request, "x-request-id", "long"))
        .await
        .unwrap();
    let entry = envoy.access_log_entry(with_id("long")).await;
    let length = |name: &str| entry[name].as_str().unwrap().len();
    assert_eq!((length("path"), length("user_agent")), (512, 256));
    let mut request =
        b"GET /odd HTTP/1.1\r\nhost: edge\r\nx-request-id: odd\r\nconnection: close\r\n".to_vec();
    request.extend_from_slice(b"user-agent: \xff\"\\\t{\xc3\xa9\r\n\r\n");
    raw(envoy.address(), &request).await;
    let entry = envoy.access_log_entry(with_id("odd")).await;
    assert!(
        entry["user_agent"].as_str().unwrap().contains("\"\\\t{"),
        "{entry}"
    );
}
