//! A turn: a client's request to a model, and the events until its end.
//! The domain between `openai` and `codex`. It has no wire format and imports no other module of the sidecar.

mod allowance;
mod client_turn;
mod digest;
mod error;
mod event;
mod event_channel;
mod image;
mod lazy_timer;
mod memory;
mod model;
mod open_message;
mod refusal;
mod request;
mod truncate;

pub use allowance::{
    AllowanceEnd, Grant, LimitName, OutputAllowance, OutputBudget, Period, Scope, SpentLimit,
};
pub use client_turn::{ClientTurn, TurnObserver};
pub use digest::{
    AnswerItem, ConversationDigest, Digest, ReasoningPlace, end_of_answer, reasoning_places,
};
pub use error::{Deadline, NotAdmitted, TurnError};
pub use event::{Event, FinishReason, Outcome, ThreadOrigin, TurnOrigin, Usage, UsedTokens};
pub use event_channel::{EventWriter, Timers, Turn, channel};
pub use image::{Detail, Image, ImageLimits};
pub use lazy_timer::LazyTimer;
pub use memory::{MemoryBudget, MemoryExceeded, MemoryHold, MemoryReservation};
pub use model::{Effort, Model, Verbosity};
pub use open_message::OpenMessage;
pub use refusal::{Refusal, RequestField};
pub use request::{
    Content, Item, Message, Phase, Profile, ReasoningItem, Role, Summary, TokenCap, Tool, ToolCall,
    ToolKind, ToolNamespace, ToolOutput, Tools, TurnRequest,
};
pub use truncate::{ToolBlockTail, Truncated, TruncationRules, Truncator};
