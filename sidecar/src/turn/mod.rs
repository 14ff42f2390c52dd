//! A turn: what a client asks of a model, and what happens until that is answered.
//! The domain where dialects and child protocols meet; it knows no wire format and none of our modules.

mod alarm;
mod attended;
mod backlog;
mod channel;
mod cut;
mod error;
mod event;
mod request;

pub use alarm::Alarm;
pub use attended::{Attended, Witness};
pub use channel::{EventWriter, Timers, Turn, channel};
pub use cut::{Cut, CutRules, Cutter, ToolTail};
pub use error::{Deadline, TurnError};
pub use event::{Event, Outcome, Stop, Usage};
pub use request::{
    Content, Detail, Effort, Image, Item, Message, Model, Profile, ReasoningItem, Role, Summary,
    Tool, ToolCall, ToolOutput, Tools, TurnRequest,
};
