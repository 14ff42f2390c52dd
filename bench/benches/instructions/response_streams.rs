//! Events -> bytes of a stream: what a delta costs on its way to the client, a hundred at a time.

use std::hint::black_box;

use bytes::BytesMut;
use futures_util::{FutureExt, Stream, StreamExt};
use sidecar::dialect::{EventFrames, chat, event_stream, responses};
use sidecar::recall::Listener;
use sidecar::turn::{Attended, CutRules, Event, EventWriter, Timers, channel};
use tokio_util::sync::CancellationToken;

use crate::chat_bodies::{KIB, model_first};
use crate::requests::{catalogue, chat, response, store};
use crate::{Case, Work, case};

pub(crate) const CASES: &[Case] = &[
    case("write-100-chat-deltas", || write(chat_frames())),
    case("write-100-response-deltas", || write(response_frames())),
    case("stream-100-chat-deltas", || stream(chat_frames())),
    case("stream-100-response-deltas", || stream(response_frames())),
];

const DELTAS: usize = 100;

fn delta() -> Event {
    Event::Text(" the word".to_owned())
}

fn chat_frames() -> chat::ChunkWriter {
    let (_turn, reply) = chat(&catalogue(), &model_first(KIB));
    chat::ChunkWriter::new(&reply, Listener::default())
}

fn response_frames() -> responses::ResponseWriter {
    let store = store();
    let (_turn, reply) = response(&catalogue(), &store);
    responses::ResponseWriter::new(reply, &store, "alice")
}

/// The dialect's part alone.
fn write(mut frames: impl EventFrames + 'static) -> Work {
    let (event, mut out) = (delta(), BytesMut::with_capacity(64 * KIB));
    Box::new(move || {
        out.clear();
        for _ in 0..DELTAS {
            frames.write(black_box(&event), &mut out);
        }
        black_box(&out);
    })
}

/// All of it, from the child's side of a turn to the bytes that hyper is given; each delta is read before the next.
fn stream(frames: impl EventFrames + 'static) -> Work {
    let (writer, turn) = channel(Timers::default(), CancellationToken::new());
    let turn = Attended::new(turn, None, &CutRules::default(), Box::new(()));
    let mut bytes = Box::pin(event_stream(turn, frames, None));
    Box::new(move || {
        for _ in 0..DELTAS {
            pass(&writer, &mut bytes);
        }
    })
}

fn pass(writer: &EventWriter, bytes: &mut (impl Stream + Unpin)) {
    writer.write(delta()).expect("the reader keeps up");
    let written = bytes.next().now_or_never().flatten();
    assert!(black_box(written).is_some(), "a delta is a frame at once");
}
