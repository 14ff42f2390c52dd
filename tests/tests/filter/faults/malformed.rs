//! Malformed requests and responses: no trap, no hang, and every check still holds.

use tests::wasm_host::{Exchange, Outcome, Protocol, Request, Response};

use crate::gateway::{ALICE, Gateway, base, chat, good_chat, outcome, upstream};

/// The headers that the filter reads, and some others.
const HEADERS: [&str; 18] = [
    ":method",
    ":path",
    ":authority",
    ":scheme",
    "authorization",
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
    "access-control-request-private-network",
    "content-length",
    "content-type",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-codex-edge-client",
    "user-agent",
    "cookie",
];

/// Values that clients do not normally send.
fn values() -> Vec<Vec<u8>> {
    vec![
        b"".to_vec(),
        b"\xff".to_vec(),
        b"\xc3".to_vec(),
        b"\xed\xa0\x80".to_vec(),
        b"\xf4\x90\x80\x80".to_vec(),
        b"a\0b".to_vec(),
        b"\0".to_vec(),
        b"\r\n".to_vec(),
        b"Bearer \xff".to_vec(),
        b"-1".to_vec(),
        b"99999999999999999999999999".to_vec(),
        "\u{202e}\u{1f600}".into(),
        (0..=255).collect(),
        vec![b'a'; 64 << 10],
        vec![0xff; 1 << 20],
    ]
}

fn requests() -> [Request; 5] {
    [
        good_chat(),
        chat("{"),
        Request::get("/v1/usage"),
        Request::get("/verify").header("authorization", ALICE),
        Request::new("OPTIONS", "/v1/models")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET"),
    ]
}

#[track_caller]
fn check_responded(exchange: &Exchange, request: &Request) {
    let is_responded = matches!(exchange.outcome, Outcome::Responded { .. });
    assert!(is_responded, "{:?}\n{request:?}", exchange.outcome);
}

/// Checks that unauthenticated requests are rejected, clients are served, and no VM trapped.
#[track_caller]
fn check_still_guarded(gateway: &mut Gateway) {
    gateway.check(chat("{}"), "401 invalid_api_key");
    gateway.check(good_chat(), "forwarded");
    for host in &mut gateway.0 {
        assert_eq!(host.worker(0).reloads(), 0, "a VM trapped");
    }
}

#[test]
fn any_bytes_in_any_header_get_a_response() {
    let mut gateway = Gateway::new(&base());
    for request in requests() {
        for name in HEADERS {
            for value in values() {
                let replaced = request.clone().set_header(name, &value);
                let repeated = replaced.clone().header(name, &value);
                for request in [replaced, repeated] {
                    for exchange in gateway.send(request.clone()) {
                        check_responded(&exchange, &request);
                    }
                }
            }
            let without = request.clone().without(name);
            for exchange in gateway.send(without.clone()) {
                check_responded(&exchange, &without);
            }
        }
    }
    check_still_guarded(&mut gateway);
}

#[test]
fn malformed_headers_never_admit_an_unauthenticated_request() {
    let mut gateway = Gateway::new(&base());
    for name in HEADERS {
        // These values may name an open route or a valid key.
        if [":method", ":path", "authorization"].contains(&name) {
            continue;
        }
        for value in values() {
            let request = Request::get("/v1/usage").set_header(name, &value);
            // A comma there stands for several `host` headers.
            let is_repeated_host = [":authority", "host"].contains(&name) && value.contains(&b',');
            let expected = if is_repeated_host { 400 } else { 401 };
            for exchange in gateway.send(request) {
                assert_eq!(
                    exchange.status(),
                    expected,
                    "{name}: {:?}",
                    value.escape_ascii().to_string().get(..50)
                );
                assert!(exchange.upstream.is_none());
            }
        }
    }
    for value in values() {
        let request = Request::get("/v1/usage").set_header(":path", &value);
        gateway.check(request, "401 invalid_api_key");
        let request = Request::get("/v1/usage").set_header(":method", &value);
        gateway.check(request, "401 invalid_api_key");
    }
}

#[test]
fn thousands_of_internal_headers_are_removed() {
    let mut gateway = Gateway::new(&base());
    let many = (0..5000).fold(good_chat(), |request, number| {
        request.header(&format!("x-codex-edge-{number}"), "v")
    });
    for exchange in gateway.send(many) {
        assert_eq!(outcome(&exchange), "forwarded");
        let names = exchange.upstream_headers().iter().map(|(name, _)| name);
        let internal = names.filter(|name| name.starts_with(b"x-codex-edge-"));
        assert_eq!(internal.count(), 1);
    }
    let no_headers = HEADERS
        .into_iter()
        .fold(Request::get("/"), Request::without);
    gateway.check(no_headers, "401 invalid_api_key");
    check_still_guarded(&mut gateway);
}

#[test]
fn any_body_in_any_chunks_gets_a_response() {
    let mut gateway = Gateway::new(&base());
    let mut random = Random(7);
    for _ in 0..400 {
        let body = random.body();
        let mut cuts: Vec<_> = (0..random.below(6))
            .map(|_| random.below(body.len() + 1))
            .collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]);
        let request = Request::post("/v1/responses")
            .header("authorization", ALICE)
            .body_pieces(pieces);
        let trailers = request.clone().trailer("x-\u{ff}", b"\xff");
        for request in [request.clone().protocol(Protocol::Http2), request, trailers] {
            let exchanges = gateway.send(request.clone());
            exchanges
                .iter()
                .for_each(|exchange| check_responded(exchange, &request));
            let [first, rest @ ..] = exchanges.map(|exchange| outcome(&exchange));
            assert!(rest.iter().all(|other| *other == first), "{request:?}");
        }
    }
    check_still_guarded(&mut gateway);
}

#[test]
fn client_may_disconnect_at_any_callback() {
    let mut gateway = Gateway::new(&base());
    for callbacks in 0..8 {
        for request in requests() {
            let request = request.disconnects_after(callbacks);
            for exchange in gateway.send(request.clone()) {
                let has_ended = matches!(
                    exchange.outcome,
                    Outcome::Disconnected | Outcome::Responded { .. }
                );
                assert!(has_ended, "{:?}", exchange.outcome);
            }
        }
    }
    check_still_guarded(&mut gateway);
}

#[test]
fn any_upstream_response_is_forwarded_without_trap() {
    let mut gateway = Gateway::new(&base());
    for name in [
        "vary",
        "access-control-allow-origin",
        "content-type",
        "x-request-id",
        "x-ratelimit-limit-requests",
        ":status",
    ] {
        for value in values() {
            let upstream = |_: &_| {
                Response::ok()
                    .header(name, &value)
                    .body_pieces([&value, &value])
            };
            for exchange in gateway.send_to(good_chat(), upstream) {
                check_responded(&exchange, &good_chat());
            }
        }
    }
    check_still_guarded(&mut gateway);
}

#[test]
fn concurrent_streams_do_not_mix() {
    let mut gateway = Gateway::new(&base());
    let slow = |body: &str| {
        let request = Request::post("/v1/responses").header("authorization", ALICE);
        request.body_pieces(body.as_bytes().chunks(1))
    };
    let requests = [
        (slow(r#"{"a":1,"model":"codex-5"}"#), "forwarded"),
        (slow(r#"{"a":1,"model":"gpt-4"}"#), "404 model_not_found"),
        (chat("{}"), "401 invalid_api_key"),
        (slow(r#"{"model":"#), "400 invalid_json"),
        (good_chat(), "forwarded"),
    ];
    for host in &mut gateway.0 {
        let sent = requests.iter().map(|(request, _)| request.clone());
        let exchanges = host.worker(0).interleave(sent, upstream);
        for (exchange, (_, expected)) in exchanges.iter().zip(&requests) {
            assert_eq!(outcome(exchange), *expected);
        }
    }
}

/// A deterministic random number generator (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((mixed ^ (mixed >> 27)) >> 33).expect("31 bits") % end
    }

    /// JSON tokens in random order.
    fn body(&mut self) -> Vec<u8> {
        const TOKENS: [&[u8]; 24] = [
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b"\"",
            b"\\",
            b"\"model\"",
            b"\"codex-5\"",
            b"\"mod\\u0065l\"",
            b"\\ud83d",
            b"\\u00",
            b"null",
            b"tru",
            b"-",
            b"1e",
            b"0.5",
            b" ",
            b"\n",
            b"\xe2\x82",
            b"\xff",
            b"\0",
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ];
        let count = self.below(30);
        let tokens: Vec<_> = (0..count)
            .map(|_| TOKENS[self.below(TOKENS.len())])
            .collect();
        let start: &[u8] = if self.below(2) == 0 { b"{\"a\":" } else { b"" };
        [start, &tokens.concat()].concat()
    }
}
