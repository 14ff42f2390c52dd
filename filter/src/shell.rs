//! The filter as Envoy sees it: reads values, asks the core, carries out what it says.
//! Host callbacks of the proxy-wasm ABI 0.2.1, as Envoy 1.40 calls them.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::SystemTime;

use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MetricType};

use crate::body::{Body, Progress};
use crate::config::{Config, ConfigError, Environment};
use crate::cors::Change;
use crate::head::RequestHead;
use crate::host_map;
use crate::metrics;
use crate::outcome::Outcome;
use crate::policy::{self, Answer, Host, Verdict};
use crate::rate_limit::{Quota, STRANGER_SLOTS, SharedData, create_buckets};
use crate::reply::LocalReply;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// The filter state that the access log reads a refusal's reason from: `%FILTER_STATE(wasm.codex_edge.reason:PLAIN)%`.
const REASON: &str = "codex_edge.reason";

/// The plugin in one worker: what all its streams share.
#[derive(Debug, Default)]
struct Root {
    plugin: Option<Rc<Plugin>>,
}

#[derive(Debug)]
struct Plugin {
    config: Config,
    metrics: Metrics,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        match configure(&json, self.get_current_time()) {
            Ok(plugin) => {
                self.plugin = Some(Rc::new(plugin));
                true
            }
            Err(error) => {
                error!("configuration refused: {error}");
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            plugin: self.plugin.clone(),
            body: None,
            answer: None,
            replied: None,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn configure(json: &[u8], now: SystemTime) -> Result<Plugin, ConfigError> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        // What is not UTF-8 becomes text that no field accepts.
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    });
    let environment: Environment = variables.collect();
    let config = Config::load(json, &environment, now)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    create_buckets(
        &Wasm,
        config.keyring.clients().map(|client| client.id.as_str()),
    );
    let clients = config.keyring.clients().count();
    record_buckets(clients);
    info!("configured: {clients} keys, auth {:?}", config.auth);
    Ok(Plugin {
        config,
        metrics: Metrics::define(),
    })
}

/// One request and its answer.
#[derive(Debug)]
struct Stream {
    plugin: Option<Rc<Plugin>>,
    /// The body that may go on; none before the head was decided on, and none after a refusal.
    body: Option<Body>,
    answer: Option<Answer>,
    /// The status of the answer that we gave ourselves.
    replied: Option<u16>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let map = host_map::request_head().unwrap_or_default();
        let (Some(plugin), Some(head)) = (self.plugin.clone(), RequestHead::parse(&map)) else {
            return self.reply(LocalReply::host_failure());
        };
        let decision = policy::on_request_head(&plugin.config, &head, &Wasm);
        for name in &decision.remove {
            self.remove_http_request_header(name);
        }
        for (name, value) in decision.set() {
            self.add_http_request_header(name, value);
        }
        self.answer = Some(decision.answer);
        match decision.verdict {
            Verdict::Reply(reply) => self.reply(reply),
            Verdict::Forward(body) => self.forward(&plugin.config, body, end_of_stream),
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let (Some(plugin), Some(body)) = (&self.plugin, &mut self.body) else {
            return Action::Pause;
        };
        let mut progress = body.on_data(&plugin.config, size, read_request_body);
        if end_of_stream && progress == Progress::Hold {
            progress = body.on_end(&plugin.config);
        }
        self.carry_out(progress)
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let (Some(plugin), Some(body)) = (&self.plugin, &mut self.body) else {
            return Action::Pause;
        };
        let progress = body.on_end(&plugin.config);
        self.carry_out(progress)
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(answer) = &self.answer else {
            return Action::Continue;
        };
        for change in answer.cors.changes() {
            match change {
                Change::Set(name, value) => self.set_http_response_header(name, Some(value)),
                Change::Add(name, value) => self.add_http_response_header(name, value),
                Change::Remove(name) => self.remove_http_response_header(name),
            }
        }
        for (name, value) in answer.quota.iter().flat_map(Quota::fields) {
            self.set_http_response_header(name, Some(&value));
        }
        if let (true, Some(status)) = (answer.becomes_grpc, self.replied) {
            self.undo_grpc(status);
        }
        Action::Continue
    }
}

impl Stream {
    /// Lets the head go, unless its body has a say in it and Envoy can hold the head back.
    fn forward(&mut self, config: &Config, mut body: Body, end_of_stream: bool) -> Action {
        let progress = match body {
            Body::Flowing { .. } => Progress::Admit(0),
            Body::Gated(_) if end_of_stream => body.on_end(config),
            Body::Gated(_) if config.hold_headers => Progress::Hold,
            Body::Gated(_) => Progress::Flow,
        };
        self.body = Some(body);
        self.carry_out(progress)
    }

    fn carry_out(&mut self, progress: Progress) -> Action {
        match progress {
            Progress::Flow => Action::Continue,
            Progress::Hold => Action::Pause,
            Progress::Admit(scanned_bytes) => {
                if let Some(plugin) = &self.plugin {
                    plugin.metrics.count_forwarded(scanned_bytes);
                }
                Action::Continue
            }
            Progress::Refuse(reply) => self.reply(reply),
        }
    }

    /// To a request that looks like gRPC, Envoy sends our answer as a 200 without its body: to a proxy that asks
    /// `/verify`, a no would be a yes.
    fn undo_grpc(&self, status: u16) {
        self.set_http_response_header(":status", Some(&status.to_string()));
        for name in ["grpc-status", "grpc-message", "content-type"] {
            self.remove_http_response_header(name);
        }
    }

    /// Answers; nothing of the request passes any more.
    fn reply(&mut self, mut reply: LocalReply) -> Action {
        self.body = None;
        self.replied = Some(reply.status);
        if let Some(plugin) = &self.plugin {
            plugin.metrics.count(reply.outcome);
        }
        if let Outcome::Refused(refusal) = reply.outcome {
            self.set_property(vec![REASON], Some(refusal.name().as_bytes()));
        }
        // CORS and rate come with the response headers; they cost more in the reply's own list.
        if let Some(answer) = &self.answer {
            reply = reply.with("x-request-id", answer.request_id.clone());
        }
        let fields = reply
            .fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.send_http_response(
            u32::from(reply.status),
            fields,
            reply.body.as_deref().map(str::as_bytes),
        );
        Action::Pause
    }
}

fn read_request_body(start: usize, length: usize) -> Option<Vec<u8>> {
    hostcalls::get_buffer(BufferType::HttpRequestBody, start, length)
        .ok()
        .flatten()
}

/// The host, for what a decision may ask of it.
struct Wasm;

impl Context for Wasm {}

impl SharedData for Wasm {
    fn read(&self, key: &str) -> (Option<Vec<u8>>, Option<u32>) {
        self.get_shared_data(key)
    }

    fn replace(&self, key: &str, value: &[u8], version: Option<u32>) -> bool {
        self.set_shared_data(key, Some(value), version).is_ok()
    }
}

impl Host for Wasm {
    fn now(&self) -> SystemTime {
        self.get_current_time()
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        hostcalls::get_property(vec!["source", "address"])
            .ok()
            .flatten()
    }

    fn fresh_request_id(&self) -> String {
        let random = || RandomState::new().hash_one(self.now());
        format!("{:016x}{:016x}", random(), random())
    }
}

/// Envoy's handles of the counters; a counter that Envoy does not know any more is not worth a request.
#[derive(Debug)]
struct Metrics {
    requests: Vec<u32>,
    scanned_bytes: u32,
}

impl Metrics {
    fn define() -> Self {
        let counter =
            |name: &str| hostcalls::define_metric(MetricType::Counter, name).unwrap_or_default();
        Self {
            requests: Outcome::all()
                .map(|outcome| counter(&metrics::requests(outcome)))
                .collect(),
            scanned_bytes: counter(metrics::SCANNED_BYTES),
        }
    }

    fn count(&self, outcome: Outcome) {
        if let Some(id) = self.requests.get(outcome.index()) {
            let _ = hostcalls::increment_metric(*id, 1);
        }
    }

    fn count_forwarded(&self, scanned_bytes: usize) {
        self.count(Outcome::Forwarded);
        if let Ok(bytes @ 1..) = i64::try_from(scanned_bytes) {
            let _ = hostcalls::increment_metric(self.scanned_bytes, bytes);
        }
    }
}

/// Tells how many buckets there are in shared data.
fn record_buckets(clients: usize) {
    if let Ok(gauge) = hostcalls::define_metric(MetricType::Gauge, metrics::RATE_LIMIT_BUCKETS) {
        let _ = hostcalls::record_metric(gauge, (clients + usize::from(STRANGER_SLOTS)) as u64);
    }
}
