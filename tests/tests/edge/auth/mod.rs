//! API keys, rotation of keys, unauthenticated clients, `/verify`, and rate limits.

mod forward_auth;
mod key_command;
mod key_rotation;
mod keys;
mod rate_limit;
mod shared_limit;
mod unauthenticated;
mod verify;
