//! What every test here starts with: the chain from Envoy to the scripted model, with one key.

use http::Request;
use serde_json::{Value, json};
use tests::envoy::{self, Envoy};
use tests::http::{Body, Client, Version, bearer, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{self, Sidecar};

/// The only key.
pub(crate) const KEY: &str = "sk-a-key-of-the-end-to-end-tests";

/// The chain. Fields are dropped in the order of a request's way.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) envoy: Envoy,
    pub(crate) sidecar: Sidecar,
    pub(crate) model: ScriptedModel,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::start_with(|options| options).await
    }

    /// The chain, with what `change` changes of its Envoy.
    pub(crate) async fn start_with(
        change: impl FnOnce(envoy::EnvoyOptions) -> envoy::EnvoyOptions,
    ) -> Self {
        Self::assemble(|sidecar| sidecar, change).await
    }

    /// The chain, with what `change` changes of its sidecar.
    pub(crate) async fn start_with_sidecar(
        change: impl FnOnce(sidecar::SidecarOptions) -> sidecar::SidecarOptions,
    ) -> Self {
        Self::assemble(change, |envoy| envoy).await
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

    /// The chain over a model and a sidecar of the test's own, with what `change` changes of its Envoy.
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

    /// What a client is given.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.envoy.address())
    }

    pub(crate) async fn connect(&self, version: Version) -> Client {
        self.envoy.connect(version).await
    }

    /// Lines that the sidecar wrote about requests.
    pub(crate) fn requests_logged(&self) -> Vec<Value> {
        let log = self.sidecar.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == "request").collect()
    }
}

/// The Envoy that ships, before `sidecar`, with the key.
pub(crate) fn envoy_before(sidecar: &Sidecar) -> envoy::EnvoyOptions {
    envoy::EnvoyOptions::new(sidecar.socket()).env("PROXY_API_KEY", KEY)
}

/// A streamed chat whose message tells the model to play `script`.
pub(crate) fn streamed_chat(script: &Value) -> Request<Body> {
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "stream": true, "messages": [message]});
    bearer(post("/v1/chat/completions", body.to_string()), KEY)
}
