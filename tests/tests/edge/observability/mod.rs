//! The access log, metrics, the admin interface and request ids.

mod access_log;
mod admin;
mod metrics;
mod request_id;
