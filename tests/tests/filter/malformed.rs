//! Anything a client can send, and anything an upstream can answer: no trap, no hang, and the gate still stands.

use tests::wasm_host::{Exchange, Outcome, Protocol, Request, Response};

use crate::gateway::{ALICE, Gateway, base, chat, good_chat, outcome, upstream};

/// Fields that the filter reads, or might.
const FIELDS: [&str; 18] = [
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

/// Values that no sane client sends.
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
fn check_answered(exchange: &Exchange, request: &Request) {
    let is_answered = matches!(exchange.outcome, Outcome::Answered { .. });
    assert!(is_answered, "{:?}\n{request:?}", exchange.outcome);
}

/// After whatever came before, strangers are refused and clients served.
#[track_caller]
fn check_the_gate(gateway: &mut Gateway) {
    gateway.check(chat("{}"), "401 invalid_api_key");
    gateway.check(good_chat(), "forwarded");
    for host in &mut gateway.0 {
        assert_eq!(host.worker(0).reloads(), 0, "a VM was lost");
    }
}

#[test]
fn any_octets_in_any_field() {
    let mut gateway = Gateway::new(&base());
    for request in requests() {
        for field in FIELDS {
            for value in values() {
                let replaced = request.clone().set_header(field, &value);
                let repeated = replaced.clone().header(field, &value);
                for request in [replaced, repeated] {
                    for exchange in gateway.send(request.clone()) {
                        check_answered(&exchange, &request);
                    }
                }
            }
            let without = request.clone().without(field);
            for exchange in gateway.send(without.clone()) {
                check_answered(&exchange, &without);
            }
        }
    }
    check_the_gate(&mut gateway);
}

#[test]
fn nothing_malformed_opens_the_gate() {
    let mut gateway = Gateway::new(&base());
    for field in FIELDS {
        // A method or path may name an open route; a stranger's credentials may be right.
        if [":method", ":path", "authorization"].contains(&field) {
            continue;
        }
        for value in values() {
            let request = Request::get("/v1/usage").set_header(field, &value);
            for exchange in gateway.send(request) {
                assert_eq!(
                    exchange.status(),
                    401,
                    "{field}: {:?}",
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
fn field_names_of_any_octets_and_in_any_number() {
    let mut gateway = Gateway::new(&base());
    let many = (0..5000).fold(good_chat(), |request, number| {
        request.header(&format!("x-codex-edge-{number}"), "v")
    });
    for exchange in gateway.send(many) {
        assert_eq!(outcome(&exchange), "forwarded");
        let names = exchange.upstream_headers().iter().map(|(name, _)| name);
        let ours = names.filter(|name| name.starts_with(b"x-codex-edge-"));
        assert_eq!(ours.count(), 1);
    }
    let no_fields = FIELDS.into_iter().fold(Request::get("/"), Request::without);
    gateway.check(no_fields, "401 invalid_api_key");
    check_the_gate(&mut gateway);
}

#[test]
fn bodies_of_any_octets_cut_anywhere() {
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
                .for_each(|exchange| check_answered(exchange, &request));
            let [streamed, held] = exchanges.map(|exchange| outcome(&exchange));
            assert_eq!(streamed, held, "{request:?}");
        }
    }
    check_the_gate(&mut gateway);
}

#[test]
fn a_client_may_leave_at_any_time() {
    let mut gateway = Gateway::new(&base());
    for callbacks in 0..8 {
        for request in requests() {
            let request = request.leaves_after(callbacks);
            for exchange in gateway.send(request.clone()) {
                let over = matches!(exchange.outcome, Outcome::Left | Outcome::Answered { .. });
                assert!(over, "{:?}", exchange.outcome);
            }
        }
    }
    check_the_gate(&mut gateway);
}

#[test]
fn an_upstream_may_answer_anything() {
    let mut gateway = Gateway::new(&base());
    for field in [
        "vary",
        "access-control-allow-origin",
        "content-type",
        "x-request-id",
        "x-ratelimit-limit-requests",
        ":status",
    ] {
        for value in values() {
            let answer = |_: &_| {
                Response::ok()
                    .header(field, &value)
                    .body_pieces([&value, &value])
            };
            for exchange in gateway.send_to(good_chat(), answer) {
                check_answered(&exchange, &good_chat());
            }
        }
    }
    check_the_gate(&mut gateway);
}

#[test]
fn streams_that_are_open_at_once_do_not_mix() {
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

/// A small generator, the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((mixed ^ (mixed >> 27)) >> 33).expect("31 bits") % end
    }

    /// Pieces of JSON in an order that a parser would not expect.
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
