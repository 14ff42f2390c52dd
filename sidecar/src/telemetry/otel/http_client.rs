//! The HTTP client of the exporters.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use crate::config::OtlpTarget;

/// Sends requests on the runtime of the sidecar, with the headers of the configuration. The SDK exports metrics from a
/// thread of its own, where hyper cannot run.
pub(super) struct RuntimeClient {
    runtime: Handle,
    client: HyperClient,
    headers: HeaderMap,
}

impl RuntimeClient {
    /// Returns a client for `target`. Called on the runtime.
    pub(super) fn new(target: &OtlpTarget) -> Self {
        let headers = target.headers.iter().filter_map(|(name, value)| {
            let mut value: HeaderValue = value.parse().ok()?;
            value.set_sensitive(true);
            Some((name.parse::<HeaderName>().ok()?, value))
        });
        Self {
            runtime: Handle::current(),
            client: HyperClient::with_default_connector(target.timeout, None),
            headers: headers.collect(),
        }
    }
}

impl fmt::Debug for RuntimeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeClient").finish_non_exhaustive()
    }
}

// The signature that `#[async_trait]` writes; the crate has no other use here.
impl HttpClient for RuntimeClient {
    fn send_bytes<'a, 'b>(
        &'a self,
        mut request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        // Replaces what the exporter has read from the environment, which a flag overrides.
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let client = self.client.clone();
        let sending = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        Box::pin(async { sending.await? })
    }
}
