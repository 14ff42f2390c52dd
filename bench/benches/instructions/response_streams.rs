//! Conversion of turn events into the bytes of a response stream, 100 deltas per count.

use std::hint::black_box;

use bytes::BytesMut;
use futures_util::{FutureExt, Stream, StreamExt};
use gungraun::{library_benchmark, library_benchmark_group};
use sidecar::openai::{EventFrames, chat, event_stream, responses};
use sidecar::turn::{
    ClientTurn, Event, EventWriter, Grant, OutputAllowance, OutputBudget, Timers, TruncationRules,
    channel,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::chat_bodies::{KIB, model_first};
use crate::requests::{catalogue, chat, response, store};
use crate::work::{Work, call};

#[library_benchmark(setup = call)]
#[bench::chat(write(chat_frames()))]
#[bench::response(write(response_frames()))]
fn write_100_deltas(work: Work) -> Work {
    call(work)
}

#[library_benchmark(setup = call)]
#[bench::chat(stream(chat_frames(), None))]
#[bench::chat_with_budget(stream(chat_frames(), Some(allowance())))]
#[bench::response(stream(response_frames(), None))]
fn stream_100_deltas(work: Work) -> Work {
    call(work)
}

library_benchmark_group!(
    name = writing,
    benchmarks = [write_100_deltas, stream_100_deltas]
);

const DELTAS: usize = 100;

fn delta() -> Event {
    Event::Text(" the word".to_owned())
}

fn chat_frames() -> chat::ChatChunkWriter {
    let (_, reply) = chat(&catalogue(), &model_first(KIB));
    chat::ChatChunkWriter::new(&reply)
}

fn response_frames() -> responses::ResponseWriter {
    let store = store();
    let (_, reply) = response(&catalogue(), &store);
    responses::ResponseWriter::new(reply, &store, "alice")
}

/// The writer of the wire format alone.
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

/// The whole path from the worker's end of a turn to the body that hyper polls. Every delta is read before the next is
/// written, so that no delta waits in the channel.
fn stream(frames: impl EventFrames + 'static, allowance: Option<OutputAllowance>) -> Work {
    let (writer, events) = channel(Timers::default(), CancellationToken::new());
    let turn =
        ClientTurn::new(events, None, &TruncationRules::default(), Vec::new()).within(allowance);
    let mut body = Box::pin(event_stream(turn, frames, None));
    Box::new(move || {
        for _ in 0..DELTAS {
            pass_delta(&writer, &mut body);
        }
    })
}

/// The allowance of a key with a budget. Of the two calls, the measured one asks for the next slice, and neither waits for it.
fn allowance() -> OutputAllowance {
    OutputAllowance::new(Box::new(OpenBudget), SLICE, 4.0)
}

const SLICE: u64 = 512;

/// A ledger that has answered at once; its own work is on another thread.
#[derive(Debug)]
struct OpenBudget;

impl OutputBudget for OpenBudget {
    fn ask(&mut self) -> oneshot::Receiver<Grant> {
        let (reply, answer) = oneshot::channel();
        reply
            .send(Grant::Tokens(SLICE))
            .expect("the receiver is below");
        answer
    }
}

fn pass_delta(writer: &EventWriter, body: &mut (impl Stream + Unpin)) {
    writer.write(delta()).expect("the channel is empty");
    let frame = body.next().now_or_never().flatten();
    assert!(
        black_box(frame).is_some(),
        "a delta becomes a frame without a wait"
    );
}
