//! The fixture of these tests: the chain from Envoy to the scripted model, with one key.

use http::Request;
use serde_json::{Value, json};
use tests::envoy::{self, Envoy};
use tests::http::{Body, Client, Version, bearer, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{self, Sidecar};

/// The API key of the chain.
pub(crate) const KEY: &str = "sk-a-key-of-the-end-to-end-tests";

/// The chain. Drop order matters: first Envoy, then the sidecar, then the model, so that no part loses its upstream.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) envoy: Envoy,
    pub(crate) sidecar: Sidecar,
    pub(crate) model: ScriptedModel,
}

impl Chain {
    pub(crate) async fn start() -> Self {
        Self::start_with(|options| options).await
    }

    /// Starts the chain after `change` of Envoy's options.
    pub(crate) async fn start_with(
        change: impl FnOnce(envoy::EnvoyOptions) -> envoy::EnvoyOptions,
    ) -> Self {
        Self::assemble(|sidecar| sidecar, change).await
    }

    /// Starts the chain after `change` of the sidecar's options.
    pub(crate) async fn start_with_sidecar(
        change: impl FnOnce(sidecar::SidecarOptions) -> sidecar::SidecarOptions,
    ) -> Self {
        Self::assemble(change, |envoy| envoy).await
    }

    /// Starts the chain with `alias`, a name or the wildcard, as one more name of the default model.
    pub(crate) async fn start_with_alias(alias: &str) -> Self {
        let models = json!({alias: {}}).to_string();
        Self::assemble(
            |sidecar| sidecar.env("PROXY_MODELS", &models),
            |envoy| envoy.env("PROXY_MODELS", &models),
        )
        .await
    }

    async fn assemble(
        change_sidecar: impl FnOnce(sidecar::SidecarOptions) -> sidecar::SidecarOptions,
        change_envoy: impl FnOnce(envoy::EnvoyOptions) -> envoy::EnvoyOptions,
    ) -> Self {
        let model = ScriptedModel::start()
            .await
            .expect("a loopback port is free");
        let sidecar = change_sidecar(sidecar::SidecarOptions::new(&model))
            .start()
            .await;
        Self::start_over(model, sidecar, change_envoy).await
    }

    /// Starts Envoy, after `change` of its options, in front of a model and a sidecar that the test has started.
    pub(crate) async fn start_over(
        model: ScriptedModel,
        sidecar: Sidecar,
        change: impl FnOnce(envoy::EnvoyOptions) -> envoy::EnvoyOptions,
    ) -> Self {
        let envoy = Envoy::start(change(envoy_before(&sidecar))).await;
        Self {
            envoy,
            sidecar,
            model,
        }
    }

    /// The base URL for clients.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.envoy.address())
    }

    pub(crate) async fn connect(&self, version: Version) -> Client {
        self.envoy.connect(version).await
    }

    /// The request lines of the sidecar's log.
    pub(crate) fn requests_logged(&self) -> Vec<Value> {
        self.sidecar
            .log()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["message"] == "request")
            .collect()
    }
}

/// Options of an Envoy with the shipped configuration and the key, in front of `sidecar`.
pub(crate) fn envoy_before(sidecar: &Sidecar) -> envoy::EnvoyOptions {
    envoy::EnvoyOptions::new(sidecar.socket()).env("PROXY_API_KEY", KEY)
}

/// A streamed chat with a message that makes the model play `script`.
pub(crate) fn streamed_chat(script: &Value) -> Request<Body> {
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "stream": true, "messages": [message]});
    bearer(post("/v1/chat/completions", body.to_string()), KEY)
}
