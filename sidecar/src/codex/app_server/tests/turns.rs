//! Turns from their start to their end: results, failures and interrupts.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::session::*;
use super::super::wire;
use super::peer::{KEY, Peer, failed, request};
use crate::turn::{Event, FinishReason, Outcome, Phase, TurnError, Usage, UsedTokens};

#[test]
fn turn_runs_from_thread_start_to_unsubscribe_and_reports_usage() {
    let mut peer = Peer::running();
    peer.delta("Hel");
    peer.delta("lo");
    peer.notifies("item/completed", json!({"item": {"type": "agentMessage"}}));
    peer.delta("Bye");
    let tokens = json!({"inputTokens": 11, "cachedInputTokens": 3, "outputTokens": 5, "reasoningOutputTokens": 2});
    peer.notifies(
        "thread/tokenUsage/updated",
        json!({"tokenUsage": {"total": tokens, "last": {}}}),
    );
    peer.completes("completed", &Value::Null);
    let text = |text: &str| Event::Text(text.to_owned());
    let usage = Usage {
        input_tokens: 11,
        cached_input_tokens: 3,
        output_tokens: 5,
        reasoning_tokens: 2,
    };
    let completed = Outcome::Completed {
        stop: FinishReason::Stop,
        usage: Some(usage),
    };
    let expected = [
        text("Hel"),
        text("lo"),
        Event::MessageEnded,
        text("Bye"),
        Event::Used(UsedTokens {
            usage,
            goes_on: false,
        }),
        Event::Finished(completed),
    ];
    assert_eq!(peer.events, expected);
    assert_eq!(peer.closed, 0, "the child still knows the thread");
    peer.respond("thread/unsubscribe", &json!({"status": "unsubscribed"}));
    assert_eq!(peer.closed, 1);
    let calls = [
        "initialize",
        "initialized",
        "getAuthStatus",
        "thread/start",
        "thread/inject_items",
        "turn/start",
        "thread/unsubscribe",
    ];
    assert_eq!(peer.methods(), calls);
    assert_eq!(peer.last("turn/start")["params"]["effort"], "low");
    assert_eq!(
        peer.last("thread/inject_items")["params"]["items"][0]["role"],
        "user"
    );
}

#[test]
fn whole_message_gives_the_text_that_had_no_delta() {
    for (deltas, whole, expected) in [
        (&[][..], "Hello", &["Hello"][..]),
        (&["He"], "Hello", &["He", "llo"]),
        (&["Hel", "lo"], "Hello", &["Hel", "lo"]),
        (&["Hel"], "Goodbye", &["Hel"]),
    ] {
        let mut peer = Peer::running();
        deltas.iter().for_each(|delta| peer.delta(delta));
        peer.message_ends(whole);
        peer.message_ends("Bye");
        peer.completes("completed", &Value::Null);
        let text = |text: &&str| Event::Text((*text).to_owned());
        let completed = Outcome::Completed {
            stop: FinishReason::Stop,
            usage: None,
        };
        let mut events: Vec<_> = expected.iter().map(text).collect();
        events.extend([
            Event::MessageEnded,
            text(&"Bye"),
            Event::MessageEnded,
            Event::Finished(completed),
        ]);
        assert_eq!(peer.events, events, "{whole:?} after {deltas:?}");
    }
}

#[test]
fn message_that_starts_and_never_ends_is_a_refusal() {
    let completed = |stop| Outcome::Completed { stop, usage: None };
    type Play = fn(&mut Peer);
    let turns: [(&str, FinishReason, Play); 5] = [
        ("refusal", FinishReason::Refused, Peer::message_starts),
        ("empty message", FinishReason::Stop, |peer| {
            peer.message_starts();
            peer.message_ends("");
        }),
        ("no message", FinishReason::Stop, |_| {}),
        ("refusal after a text", FinishReason::Refused, |peer| {
            peer.message_starts();
            peer.message_ends("Hm.");
            peer.message_starts();
        }),
        ("text without its end", FinishReason::Stop, |peer| {
            peer.message_starts();
            peer.delta("Hm.");
        }),
    ];
    for (name, stop, play) in turns {
        let mut peer = Peer::running();
        play(&mut peer);
        peer.completes("completed", &Value::Null);
        let last = peer.events.last().unwrap();
        assert_eq!(*last, Event::Finished(completed(stop)), "{name}");
    }
}

#[test]
fn phase_of_a_message_is_reported_once() {
    let started = |phase: &str| json!({"item": {"type": "agentMessage", "phase": phase}});
    let ended = |text: &str, phase: &str| json!({"item": {"type": "agentMessage", "text": text, "phase": phase}});
    let mut peer = Peer::running();
    peer.notifies("item/started", started("commentary"));
    peer.notifies("item/completed", ended("Hm.", "commentary"));
    peer.message_starts();
    peer.notifies("item/completed", ended("Yes.", "final_answer"));
    peer.notifies("item/started", started("a_phase_of_tomorrow"));
    peer.message_ends("So.");
    let text = |text: &str| Event::Text(text.to_owned());
    let expected = [
        Event::MessagePhase(Phase::Commentary),
        text("Hm."),
        Event::MessageEnded,
        Event::Heartbeat,
        text("Yes."),
        Event::MessagePhase(Phase::FinalAnswer),
        Event::MessageEnded,
        Event::Heartbeat,
        text("So."),
        Event::MessageEnded,
    ];
    assert_eq!(peer.events, expected);
}

#[test]
fn message_of_a_failed_attempt_is_not_a_refusal() {
    let mut peer = Peer::running();
    peer.message_starts();
    let error = json!({"message": "cut", "codexErrorInfo": "other"});
    peer.notifies("error", json!({"error": error, "willRetry": true}));
    peer.completes("completed", &Value::Null);
    let stop = FinishReason::Stop;
    let completed = Outcome::Completed { stop, usage: None };
    assert_eq!(peer.events.last(), Some(&Event::Finished(completed)));
}

#[test]
fn interrupt_ends_the_turn_at_every_stage() {
    type Stage = (&'static str, fn(&mut Peer));
    let stages: [Stage; 4] = [
        ("thread/start", |peer| {
            peer.respond("thread/start", &json!({"thread": {"id": "T"}}))
        }),
        ("thread/inject_items", |peer| {
            peer.respond("thread/inject_items", &json!({}))
        }),
        ("turn/start", |peer| {
            peer.respond("turn/start", &json!({"turn": {"id": "U"}}))
        }),
        ("running", |_| {}),
    ];
    for interrupted_at in 0..stages.len() {
        let mut peer = Peer::ready();
        let output = peer.session.begin(KEY, request(), None);
        peer.note(output);
        for (_, respond) in &stages[..interrupted_at] {
            respond(&mut peer);
        }
        let output = peer.session.interrupt(KEY);
        peer.note(output);
        let (stage, respond) = stages[interrupted_at];
        respond(&mut peer);
        let turn_runs = interrupted_at >= 2;
        if turn_runs {
            peer.respond("turn/interrupt", &json!({}));
            peer.completes("interrupted", &Value::Null);
        }
        peer.respond("thread/unsubscribe", &json!({}));
        assert_eq!(
            peer.closed,
            1,
            "interrupted during {stage}: {:?}",
            peer.methods()
        );
        assert_eq!(
            peer.methods().contains(&"turn/start"),
            turn_runs,
            "interrupted during {stage}"
        );
    }
}

#[test]
fn retry_after_text_fails_the_turn_instead_of_repeating_the_text() {
    let texts: [fn(&mut Peer); 2] = [|peer| peer.delta("par"), |peer| peer.message_ends("whole")];
    for sends_text in texts {
        let mut peer = Peer::running();
        sends_text(&mut peer);
        peer.notifies(
            "error",
            json!({"error": {"message": "Reconnecting... 1/2"}, "willRetry": true}),
        );
        assert_eq!(peer.events.last(), Some(&failed(TurnError::ProviderFailed)));
        assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
    }
}

#[test]
fn failures_of_the_model_service_map_to_distinct_errors() {
    for (info, error) in [
        (json!("contextWindowExceeded"), TurnError::ContextLength),
        (
            json!({"httpConnectionFailed": {"httpStatusCode": 401}}),
            TurnError::Unauthorized,
        ),
    ] {
        let mut peer = Peer::running();
        peer.completes("failed", &json!({"message": "m", "codexErrorInfo": info}));
        assert_eq!(peer.events, [failed(error)]);
        assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
    }
}

#[test]
fn rejected_call_fails_only_its_turn() {
    for (code, error) in [
        (wire::OVERLOADED, TurnError::Busy),
        (-32600, TurnError::Protocol),
    ] {
        let mut peer = Peer::ready();
        let output = peer.session.begin(KEY, request(), None);
        peer.note(output);
        peer.reject("thread/start", code);
        assert_eq!(
            (peer.events.as_slice(), peer.closed),
            (&[failed(error)][..], 1)
        );
        assert_eq!(peer.session.state(), SessionState::Ready);
    }
}

#[test]
fn turn_that_runs_on_after_its_interrupt_is_given_up() {
    let mut peer = Peer::running();
    let output = peer.session.interrupt(KEY);
    peer.note(output);
    peer.respond("turn/interrupt", &json!({}));
    let output = peer
        .session
        .tick(Instant::now() + INTERRUPT_TIMEOUT * 2)
        .unwrap();
    peer.note(output);
    assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
}

#[test]
fn text_delta_is_parsed_in_any_field_order() {
    let params = r#"{"threadId":"T","turnId":"U","itemId":"i","delta":"a\n\"é"}"#;
    let method = r#""method":"item/agentMessage/delta""#;
    for (line, is_one_pass) in [
        (
            format!(r#"{{{method},"params":{params},"emittedAtMs":1}}"#),
            true,
        ),
        (
            format!(r#"{{"emittedAtMs":1,"params":{params},{method}}}"#),
            false,
        ),
        (format!(r#"{{ {method}, "params": {params} }}"#), false),
    ] {
        assert_eq!(
            wire::TextDelta::parse(&line).is_some(),
            is_one_pass,
            "{line}"
        );
        let mut peer = Peer::running();
        peer.sends(&line);
        assert_eq!(peer.events, [Event::Text("a\n\"é".to_owned())], "{line}");
    }
}

#[test]
fn schema_with_line_breaks_is_sent_as_one_line() {
    let mut request = request();
    request.schema = Some(serde_json::from_str("{\n  \"type\":\r\n \"object\"}").unwrap());
    let peer = Peer::running_with(request);
    assert_eq!(
        peer.last("turn/start")["params"]["outputSchema"]["type"],
        "object"
    );
}
