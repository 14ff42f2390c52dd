//! The session beside its turns: login, requests of the child, limits of calls, invalid lines.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::calls::{CALL_TIMEOUT, MAX_PENDING_CALLS};
use super::super::error::AppServerError;
use super::super::ids::TurnKey;
use super::super::session::*;
use super::peer::{KEY, Peer, failed, request};
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{Event, TurnError};

#[test]
fn requests_of_the_child_are_declined_at_once() {
    for (method, response) in [
        (
            "item/commandExecution/requestApproval",
            json!({"result": {"decision": "decline"}}),
        ),
        (
            "item/fileChange/requestApproval",
            json!({"result": {"decision": "decline"}}),
        ),
        (
            "item/permissions/requestApproval",
            json!({"result": {"permissions": {}, "scope": "turn"}}),
        ),
        (
            "item/tool/requestUserInput",
            json!({"result": {"answers": {}}}),
        ),
        (
            "attestation/generate",
            json!({"error": {"code": -32601, "message": "not supported by this client"}}),
        ),
    ] {
        let mut peer = Peer::running();
        peer.sends(
            &json!({"method": method, "id": "r\"1", "params": {"threadId": "T"}}).to_string(),
        );
        let mut expected = response;
        expected["id"] = json!("r\"1");
        assert_eq!(
            peer.sent.last(),
            Some(&("response".to_owned(), expected)),
            "{method}"
        );
    }
}

#[test]
fn missing_login_is_checked_again() {
    let mut peer = Peer::start();
    peer.respond("initialize", &json!({}));
    peer.respond(
        "getAuthStatus",
        &json!({"authMethod": null, "requiresOpenaiAuth": true}),
    );
    assert_eq!(peer.session.state(), SessionState::LoginRequired);
    let later = Instant::now() + LOGIN_POLL * 2;
    let output = peer.session.tick(later).unwrap();
    peer.note(output);
    peer.respond(
        "getAuthStatus",
        &json!({"authMethod": "apikey", "requiresOpenaiAuth": true}),
    );
    assert_eq!(peer.session.state(), SessionState::Ready);
}

#[test]
fn revoked_login_stays_missing_on_the_same_child() {
    let unauthorized = json!({"message": "m", "codexErrorInfo": "unauthorized"});
    for (account, state) in [
        (
            json!({"account": {"type": "apiKey"}, "requiresOpenaiAuth": true}),
            SessionState::Ready,
        ),
        (
            json!({"account": null, "requiresOpenaiAuth": false}),
            SessionState::Ready,
        ),
        (
            json!({"account": null, "requiresOpenaiAuth": true}),
            SessionState::LoginRequired,
        ),
    ] {
        let mut peer = Peer::running();
        peer.completes("failed", &unauthorized);
        peer.respond("account/read", &account);
        assert_eq!(peer.session.state(), state, "{account}");
        let output = peer.session.tick(Instant::now() + Duration::from_secs(4));
        peer.note(output.unwrap());
        peer.respond(
            "getAuthStatus",
            &json!({"authMethod": "chatgpt", "requiresOpenaiAuth": true}),
        );
        assert_eq!(
            peer.session.state(),
            state,
            "the child still reports the login: {account}"
        );
    }
    let mut peer = Peer::running();
    peer.completes("failed", &unauthorized);
    peer.reject("account/read", -32603);
    assert_eq!(peer.session.state(), SessionState::Ready);
}

#[test]
fn calls_beyond_the_limit_wait_for_responses() {
    let mut peer = Peer::ready();
    for key in 0..100 {
        let output = peer.session.begin(TurnKey(key), request(), None);
        peer.sent.extend(output.write.iter().map(|line| {
            let message: Value = serde_json::from_slice(line).unwrap();
            (message["method"].as_str().unwrap().to_owned(), message)
        }));
    }
    let started = |peer: &Peer| {
        peer.methods()
            .iter()
            .filter(|method| **method == "thread/start")
            .count()
    };
    assert_eq!(started(&peer), MAX_PENDING_CALLS);
    let output = peer
        .session
        .read_line(r#"{"id":2,"error":{"code":-32001,"message":"busy"}}"#)
        .unwrap();
    assert_eq!((output.write.len(), output.closed), (1, vec![TurnKey(0)]));
}

#[test]
fn call_timeout_fails_the_turn_and_counts_a_stuck_thread() {
    let mut peer = Peer::ready();
    let output = peer.session.begin(KEY, request(), None);
    peer.note(output);
    let later = Instant::now() + CALL_TIMEOUT * 2;
    let output = peer.session.tick(later).unwrap();
    peer.note(output);
    let failed = failed(TurnError::Protocol);
    assert_eq!((peer.events.as_slice(), peer.closed), (&[failed][..], 1));
    assert_eq!(peer.session.stuck_threads(), 1);
    let (mut silent, _initialize) =
        AppServerSession::start(SharedRateLimits::default(), Instant::now());
    assert!(matches!(
        silent.tick(later),
        Err(AppServerError::Timeout("initialize"))
    ));
}

#[test]
fn invalid_message_ends_the_child_and_unknown_message_does_not() {
    let mut peer = Peer::running();
    for line in [
        r#"{"method":"something/new","params":{"threadId":"T","x":1}}"#,
        r#"{"method":"something/new"}"#,
        r#"{"id":999,"result":{}}"#,
        r#"{"method":"item/agentMessage/delta","params":{"threadId":"other","itemId":"i","delta":"secret"}}"#,
    ] {
        peer.sends(line);
    }
    assert!(!format!("{:?}", peer.events).contains("secret"));
    assert_eq!(peer.events, [Event::Heartbeat]);
    for line in [
        "",
        "not json",
        "[1]",
        r#"{"method":"turn/completed","params":{"threadId":"T"}}"#,
    ] {
        assert!(Peer::running().session.read_line(line).is_err(), "{line:?}");
    }
}
