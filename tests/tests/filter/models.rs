//! The model of a body: read as a JSON parser would in any chunks, and checked against the catalogue and the key's models.
//! Follows RFC 8259.

use serde_json::json;
use tests::wasm_host::{Exchange, Host, Protocol, Request};

use crate::gateway::{ALICE, Gateway, base, base_with, chat, outcome, start, upstream};

/// The same body in these chunks over HTTP/1 and HTTP/2, and followed by trailers.
fn deliveries(pieces: &[&[u8]]) -> [Request; 3] {
    let request = Request::post("/v1/chat/completions")
        .header("authorization", ALICE)
        .body_pieces(pieces);
    [
        request.clone().protocol(Protocol::Http1),
        request.clone().protocol(Protocol::Http2),
        request.trailer("x-checksum", "1"),
    ]
}

/// The body as a whole, cut in two at each byte, and byte by byte.
fn cuts(body: &[u8]) -> Vec<Vec<&[u8]>> {
    let halves = (0..=body.len()).map(|cut| vec![&body[..cut], &body[cut..]]);
    let bytes = body.chunks(1).collect();
    [vec![body], bytes].into_iter().chain(halves).collect()
}

fn check_body(hosts: &mut [Host; 4], body: &[u8], expected: &str) {
    for pieces in cuts(body) {
        for request in deliveries(&pieces) {
            for host in hosts.iter_mut() {
                let exchange = host.worker(0).exchange(request.clone(), upstream);
                let shown = body.escape_ascii();
                assert_eq!(outcome(&exchange), expected, "{shown} as {request:?}");
                check_upstream(&exchange, body);
            }
        }
    }
}

/// Checks that an accepted body arrives unchanged, and no byte of a rejected one.
fn check_upstream(exchange: &Exchange, body: &[u8]) {
    match &exchange.upstream {
        Some(upstream) if exchange.is_forwarded() => assert_eq!(upstream.body(), body),
        Some(upstream) => assert_eq!(upstream.body(), b""),
        None => assert!(!exchange.is_forwarded()),
    }
}

#[test]
fn body_is_read_as_a_json_parser_reads_it_in_any_chunks() {
    let mut hosts = Gateway::new(&base()).0;
    let cases: [(&[u8], &str); 38] = [
        (br#"{"model":"codex-5"}"#, "forwarded"),
        (br#"{"model":"CODEX-5"}"#, "forwarded"),
        (br#" { "model" : "codex-5" , "a" : 1 } "#, "forwarded"),
        (br#"{"messages":[],"model":"codex-5-low"}"#, "forwarded"),
        (br#"{"mod\u0065l":"codex-5"}"#, "forwarded"),
        (br#"{"model":"c\u006fdex-5"}"#, "forwarded"),
        (br#"{"model":"gpt-4"}"#, "404 model_not_found"),
        (br#"{"mod\u0065l":"gpt-4"}"#, "404 model_not_found"),
        (
            br#"{"messages":[{"model":"codex-5"}],"model":"gpt-4"}"#,
            "404 model_not_found",
        ),
        (br#"{"model":"codex-5\u0000"}"#, "404 model_not_found"),
        (br#"{"model":""}"#, "404 model_not_found"),
        (br#"{"model":"codex-5*"}"#, "404 model_not_found"),
        (br#"{"model":"\ud83d\ude00"}"#, "404 model_not_found"),
        (
            "{\"model\":\"\u{e9}\u{1f600}\"}".as_bytes(),
            "404 model_not_found",
        ),
        (br#"{}"#, "forwarded"),
        (br#"{"messages":[{"model":"gpt-4"}]}"#, "forwarded"),
        (br#"{"Model":"gpt-4"}"#, "forwarded"),
        (br#"{"a":"\"model\":\"gpt-4\""}"#, "forwarded"),
        (
            "{\"a\":\"\u{e9}\u{20ac}\u{1f600}\"}".as_bytes(),
            "forwarded",
        ),
        (
            br#"{"a":[[{"b":[{}]}]],"n":-1.5e+3,"t":true,"z":null}"#,
            "forwarded",
        ),
        (b"\xef\xbb\xbf{\"model\":\"codex-5\"}", "forwarded"),
        (br#"{"model":1}"#, "400 invalid_request_error"),
        (br#"{"model":["codex-5"]}"#, "400 invalid_request_error"),
        (
            br#"{"model":{"model":"codex-5"}}"#,
            "400 invalid_request_error",
        ),
        (br#"{"model":true}"#, "400 invalid_request_error"),
        (b"{\"model\":\"\xff\"}", "400 invalid_json"),
        (b"{\"model\":\"\xc3\"}", "400 invalid_json"),
        (br#"{"model":"\ud83d"}"#, "400 invalid_json"),
        (br#"["codex-5"]"#, "400 invalid_json"),
        (br#""codex-5""#, "400 invalid_json"),
        (b"model=codex-5", "400 invalid_json"),
        (b"\xef\xbb{}", "400 invalid_json"),
        (b"\x1f\x8b\x08\0", "400 invalid_json"),
        (br#"{"messages":["#, "400 invalid_json"),
        (b"{\"messages\":\"\xe2\x82", "400 invalid_json"),
        (br#"{"a":1,}"#, "400 invalid_json"),
        (b"{} {}", "400 invalid_json"),
        (b"   ", "400 invalid_json"),
    ];
    for (body, expected) in cases {
        check_body(&mut hosts, body, expected);
    }
}

#[test]
fn body_without_model_uses_the_default_model() {
    let config = base_with(json!({"default_model": "codex-6"}));
    let mut gateway = Gateway::new(&config);
    gateway.check(chat("{}").header("authorization", ALICE), "forwarded");
    gateway.check(
        chat("{}").header("authorization", "Bearer sk-bob"),
        "403 model_not_allowed",
    );
}

#[test]
fn key_is_restricted_to_its_models() {
    let mut gateway = Gateway::new(&base());
    let cases = [
        ("codex-5", "forwarded"),
        ("codex-5-low", "forwarded"),
        ("codex-6", "403 model_not_allowed"),
        ("codex-50", "404 model_not_found"),
    ];
    for (model, expected) in cases {
        for path in ["/v1/chat/completions", "/v1/completions", "/v1/responses"] {
            let request = Request::post(path)
                .header("authorization", "Bearer sk-bob")
                .body(json!({"messages": [], "model": model}).to_string());
            gateway.check(request, expected);
        }
    }
}

#[test]
fn first_of_two_models_decides() {
    let mut gateway = Gateway::new(&base());
    let chat = |body: &str| chat(body).header("authorization", ALICE);
    gateway.check(
        chat(r#"{"model":"gpt-4","model":"codex-5"}"#),
        "404 model_not_found",
    );
    gateway.check(
        chat(r#"{"model":"gpt-4","mod\u0065l":"codex-5"}"#),
        "404 model_not_found",
    );
}

#[test]
fn depth_and_name_length_are_limited() {
    let mut gateway = Gateway::new(&base());
    let deep = |depth: usize| {
        format!(
            r#"{{"a":{}{},"model":"codex-5"}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    let long = |length: usize| format!(r#"{{"a":"{0}","model":"codex-5"}}"#, "a".repeat(length));
    let named = |length: usize| format!(r#"{{"model":"{0}"}}"#, "a".repeat(length));
    let cases = [
        (deep(100), "forwarded"),
        (deep(100_000), "400 invalid_json"),
        (long(900_000), "forwarded"),
        (named(200_000), "404 model_not_found"),
    ];
    for (body, expected) in cases {
        gateway.check(chat(&body).header("authorization", ALICE), expected);
        let pieces = Request::post("/v1/responses").header("authorization", ALICE);
        gateway.check(pieces.body_pieces(body.as_bytes().chunks(4093)), expected);
    }
}

#[test]
fn rejection_names_the_model_and_its_parameter() {
    let mut gateway = Gateway::new(&base());
    let request = chat(r#"{"model":"gpt-\"4\"\u0007"}"#).header("authorization", ALICE);
    for exchange in gateway.send(request) {
        let body: serde_json::Value = serde_json::from_str(&exchange.response().text()).unwrap();
        let message = "The model gpt-\"4\"\u{7} does not exist or you do not have access to it.";
        assert_eq!(body["error"]["message"], message);
        assert_eq!(body["error"]["param"], "model");
    }
}

#[test]
fn rejected_body_never_reaches_the_upstream_when_headers_are_held() {
    let request = || chat(r#"{"model":"gpt-4"}"#).header("authorization", ALICE);
    let mut holding = start(&base(), true);
    let exchange = holding.worker(0).exchange(request(), upstream);
    assert!(exchange.upstream.is_none());

    let mut streaming = start(&base(), false);
    let exchange = streaming.worker(0).exchange(request(), upstream);
    let touched = exchange
        .upstream
        .as_ref()
        .expect("the head was forwarded before the body");
    assert!(!touched.complete && touched.pieces.is_empty());
}

#[test]
fn long_body_is_read_alike_at_any_string_offset() {
    // The scanner compares many bytes at once; every escape must meet each border of a block.
    let escapes =
        r#"The \"quick\" brown fox\\ jumps over caf\u00e9 Größe.\n{\"model\":\"gpt-4\"} "#;
    let mut gateway = Gateway::new(&base());
    for padding in 0..70 {
        let content = "x".repeat(padding) + &escapes.repeat(40) + &"y".repeat(padding);
        for (model, expected) in [("codex-5", "forwarded"), ("gpt-4", "404 model_not_found")] {
            let messages = format!(r#"{{"content":"{content}"}},"#).repeat(4);
            let body = format!(r#"{{"messages":[{messages}0],"model":"{model}"}}"#);
            gateway.check(chat(&body).header("authorization", ALICE), expected);
        }
    }
}

/// The filter does not decode: a compressed body passes unread where no model is restricted, and is refused elsewhere.
#[test]
fn compressed_body_is_refused_wherever_models_are_restricted() {
    const REFUSED: &str = "415 unsupported_media_type";
    const BOB: &str = "Bearer sk-bob";
    let request = |key: &str, encodings: &[&str], body: &[u8]| {
        let request = chat(body).header("authorization", key);
        encodings.iter().fold(request, |request, encoding| {
            request.header("content-encoding", encoding)
        })
    };
    let unlisted = base_with(json!({"models": null}));
    let open = base_with(json!({"models": null, "auth": "none", "keys": []}));
    let plain = br#"{"model":"codex-5"}"#;
    let mut listed = Gateway::new(&base());
    let (mut unlisted, mut open) = (Gateway::new(&unlisted), Gateway::new(&open));
    for encodings in [
        &["gzip"][..],
        &["zstd"],
        &["br"],
        &[""],
        &["identity", "gzip"],
    ] {
        for body in [&b"\x1f\x8b\x08"[..], plain] {
            listed.check(request(ALICE, encodings, body), REFUSED);
            unlisted.check(request(BOB, encodings, body), REFUSED);
            for exchange in unlisted.send(request(ALICE, encodings, body)) {
                assert_eq!(outcome(&exchange), "forwarded");
                check_upstream(&exchange, body);
            }
            open.check(chat(body).header("content-encoding", "gzip"), "forwarded");
        }
    }
    for encoding in ["identity", "Identity"] {
        listed.check(request(ALICE, &[encoding], plain), "forwarded");
        listed.check(
            request(BOB, &[encoding], br#"{"model":"codex-6"}"#),
            "403 model_not_allowed",
        );
    }
}

/// A key for `*-low` may use neither another id nor another effort; the body is held until no effort can follow.
#[test]
fn effort_of_the_body_is_checked_with_the_model() {
    let keys = json!([{"id": "low", "key": "sk-low", "models": ["*-low"]}]);
    let config = base_with(json!({"models": null, "keys": keys}));
    let mut hosts = Gateway::new(&config).0;
    let refused = "403 model_not_allowed";
    for (body, expected) in [
        (r#"{"model":"codex-5-low"}"#, "forwarded"),
        (
            r#"{"model":"codex-5-low","reasoning_effort":"low"}"#,
            "forwarded",
        ),
        (
            r#"{"model":"codex-5-low","reasoning_effort":"high"}"#,
            refused,
        ),
        (
            r#"{"reasoning_effort":"high","model":"codex-5-low"}"#,
            refused,
        ),
        (
            r#"{"model":"codex-5-low","reasoningEffort":"High"}"#,
            refused,
        ),
        (
            r#"{"model":"codex-5-low","reasoning":{"effort":"high"}}"#,
            refused,
        ),
        (
            r#"{"reasoning_effort":"low","model":"codex-5-low","reasoning_effort":"high"}"#,
            refused,
        ),
        (r#"{"model":"codex-5-low","messages":["#, "400 invalid_json"),
    ] {
        for pieces in [vec![body.as_bytes()], body.as_bytes().chunks(1).collect()] {
            for path in ["/v1/chat/completions", "/v1/completions", "/v1/responses"] {
                for host in &mut hosts {
                    let request = Request::post(path)
                        .header("authorization", "Bearer sk-low")
                        .body_pieces(pieces.clone());
                    let exchange = host.worker(0).exchange(request, upstream);
                    assert_eq!(outcome(&exchange), expected, "{body}");
                    check_upstream(&exchange, body.as_bytes());
                }
            }
        }
    }
}
