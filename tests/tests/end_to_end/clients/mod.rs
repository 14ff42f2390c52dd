//! Clients of the whole chain: SDKs, curl, a browser, `llm-comply`, and continuous traffic.

mod browser;
mod claude_code;
pub(crate) mod curl;
mod llm_comply;
pub(crate) mod sdks;
pub(crate) mod traffic;
