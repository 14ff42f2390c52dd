//! Turns with large images, and the turns that another child may begin again.

use serde_json::json;

use super::super::decoding::LARGE_PIXELS;
use super::super::ids::TurnKey;
use super::peer::{KEY, Peer, request};
use crate::turn::{Content, Image, Item, Message, Role, TurnRequest};

const NEXT: TurnKey = TurnKey(8);

fn with_image(pixels: u64) -> TurnRequest {
    let image = Image {
        url: "data:image/png;base64,".to_owned(),
        detail: None,
        pixels,
        place: None,
    };
    TurnRequest {
        conversation: vec![Item::Message(Message {
            phase: None,
            role: Role::User,
            content: vec![Content::Image(image)],
        })],
        ..request()
    }
}

/// Begins two turns, and has the child start a thread for each.
fn with_two_turns(first: TurnRequest, second: TurnRequest) -> Peer {
    let mut peer = Peer::ready();
    for (key, request, thread) in [(KEY, first, "T"), (NEXT, second, "V")] {
        let output = peer.session.begin(key, request, None);
        peer.note(output);
        peer.respond("thread/start", &json!({"thread": {"id": thread}}));
    }
    peer
}

fn injected(peer: &Peer) -> Vec<&str> {
    let calls = peer
        .sent
        .iter()
        .filter(|(method, _)| method == "thread/inject_items");
    calls
        .filter_map(|(_, call)| call["params"]["threadId"].as_str())
        .collect()
}

#[test]
fn large_images_of_one_turn_at_a_time_are_decoded() {
    let large = || with_image(LARGE_PIXELS + 1);
    let mut peer = with_two_turns(large(), large());
    assert_eq!(injected(&peer), ["T"]);
    assert_eq!(peer.session.decoding(), Some(KEY));
    peer.respond("thread/inject_items", &json!({}));
    assert_eq!(injected(&peer), ["T", "V"]);
    assert_eq!(peer.session.decoding(), Some(NEXT));
    peer.respond("thread/inject_items", &json!({}));
    assert_eq!(peer.session.decoding(), None);
}

#[test]
fn turn_that_is_cancelled_while_it_waits_lets_the_next_one_go_on() {
    let large = || with_image(LARGE_PIXELS + 1);
    let mut peer = with_two_turns(large(), large());
    let output = peer.session.interrupt(NEXT);
    peer.note(output);
    peer.respond("thread/inject_items", &json!({}));
    assert_eq!(injected(&peer), ["T"]);
    peer.respond("thread/unsubscribe", &json!({}));
    assert_eq!(peer.session.decoding(), None);
    assert_eq!(peer.closed, 1);
}

#[test]
fn small_images_do_not_wait() {
    let peer = with_two_turns(with_image(LARGE_PIXELS + 1), with_image(LARGE_PIXELS));
    assert_eq!(injected(&peer), ["T", "V"]);
    assert_eq!(peer.session.decoding(), Some(KEY));
}

#[test]
fn turns_that_the_model_was_not_asked_for_may_begin_again() {
    let mut peer = Peer::running();
    let output = peer.session.begin(NEXT, request(), None);
    peer.note(output);
    let unasked = peer.session.take_unasked();
    let keys: Vec<_> = unasked.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [NEXT], "the other turn runs");
    assert_eq!(unasked[0].1.conversation.len(), 1);
}
