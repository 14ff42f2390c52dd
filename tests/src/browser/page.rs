//! A page of the tests' own that makes requests and reports their results.

use serde_json::Value;
use tokio::time::timeout;

use super::process::{Browser, PAGE_DEADLINE};
use super::server::Server;

/// An open page; its browser is killed when it is dropped.
#[derive(Debug)]
pub struct Page {
    server: Server,
    _browser: Browser,
}

impl Page {
    /// Opens `html` as a page of `http://{host}:` and a port of its own, with `query` for its script. Valid hosts are
    /// `127.0.0.1` and `localhost`, which are two origins.
    pub async fn open(html: Vec<u8>, host: &str, query: &[(&str, &str)]) -> Self {
        let server = Server::start(html).await;
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let url = format!("http://{host}:{}/?{}", server.port(), query.join("&"));
        Self {
            server,
            _browser: Browser::open(&url),
        }
    }

    /// Waits for the page's next report.
    pub async fn report(&mut self) -> Value {
        let report = timeout(PAGE_DEADLINE, self.server.report()).await;
        report.expect("the page reports in time")
    }
}

/// Percent-encodes a value for a query (RFC 3986, section 2.1).
fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
