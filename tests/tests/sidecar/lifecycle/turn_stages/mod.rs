//! SIGTERM, SIGKILL and client disconnects while a turn is at a given stage.

mod fixture;
mod interruption;
