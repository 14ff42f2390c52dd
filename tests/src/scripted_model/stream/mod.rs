//! Streamed responses: items and their events, and the player that writes them at the pace of a script.

mod auto;
mod event_body;
mod holds;
mod items;
mod player;
mod responses;
mod schema_instance;

pub(crate) use event_body::EventBody;
pub(crate) use holds::Holds;
pub(crate) use player::Player;
