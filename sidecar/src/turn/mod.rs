//! A turn: what a client asks of a model, and what happens until that is answered.
//! The domain where dialects and child protocols meet; it knows no wire format and none of our modules.

mod channel;
mod client_turn;
mod error;
mod event;
mod event_buffer;
mod lazy_timer;
mod request;
mod truncate;

pub use channel::{EventWriter, Timers, Turn, channel};
pub use client_turn::{ClientTurn, TurnObserver};
pub use error::{Deadline, TurnError};
pub use event::{Event, FinishReason, Outcome, Usage};
pub use lazy_timer::LazyTimer;
pub use request::{
    Content, Detail, Effort, Image, Item, Message, Model, Profile, ReasoningItem, Role, Summary,
    Tool, ToolCall, ToolOutput, Tools, TurnRequest,
};
pub use truncate::{ToolBlockTail, Truncated, TruncationRules, Truncator};
