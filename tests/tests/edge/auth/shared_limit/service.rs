//! The rate limit service that many Envoys ask: `envoy.service.ratelimit.v3` over gRPC, Limitador counts.
//! Follows Envoy's `rls.proto`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server as server;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration;
use limitador::counter::Counter;
use limitador::limit::Context;
use limitador::{CheckResult, RateLimiter};
use tests::http::DEADLINE;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::limits::{self, Period};

/// A running service.
#[derive(Debug)]
pub(super) struct RateLimitService {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    stopping: CancellationToken,
    tasks: JoinSet<()>,
}

impl RateLimitService {
    /// Listens on a port of its own and counts as the YAML `config` says.
    pub(super) fn start(config: &str) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let incoming = TcpIncoming::bind(listen).expect("loopback has free ports");
        let address = incoming.local_addr().expect("the socket is bound");
        let asked = Arc::default();
        let service = Service {
            limiter: limits::limiter(config),
            asked: Arc::clone(&asked),
        };
        let stopping = CancellationToken::new();
        let stopped = stopping.clone().cancelled_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            Server::builder()
                .add_service(server::RateLimitServiceServer::new(service))
                .serve_with_incoming_shutdown(incoming, stopped)
                .await
                .expect("the socket stays open");
        });
        Self {
            address,
            asked,
            stopping,
            tasks,
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes its socket and its connections.
    pub(super) async fn stop(self) {
        self.stopping.cancel();
        let ended = timeout(DEADLINE, self.tasks.join_all()).await;
        ended.expect("Envoy closes a connection that it is told to leave");
    }

    /// What it was asked about so far, each as `key=value` after `key=value`, in the order in which it came.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

struct Service {
    limiter: RateLimiter,
    asked: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl server::RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let RateLimitRequest {
            domain,
            descriptors,
            ..
        } = request.into_inner();
        let [descriptor] = &descriptors[..] else {
            return Err(Status::invalid_argument("one descriptor is expected"));
        };
        self.note(descriptor);
        let result = self
            .limiter
            .check_rate_limited_and_update(&domain.into(), &context(descriptor), 1)
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(write_response(&result)))
    }
}

impl Service {
    fn note(&self, descriptor: &RateLimitDescriptor) {
        let entries = descriptor.entries.iter();
        let asked: Vec<_> = entries
            .map(|entry| format!("{}={}", entry.key, entry.value))
            .collect();
        let mut all = self.asked.lock().expect("no holder panics");
        all.push(asked.join(" "));
    }
}

/// What the conditions of a limit are evaluated against.
fn context(descriptor: &RateLimitDescriptor) -> Context<'static> {
    let entries = descriptor.entries.iter();
    let entries: HashMap<_, _> = entries
        .map(|entry| (entry.key.clone(), entry.value.clone()))
        .collect();
    let mut context = Context::default();
    context.list_binding("descriptors".to_owned(), vec![entries]);
    context
}

fn write_response(result: &CheckResult) -> RateLimitResponse {
    let code = if result.limited {
        Code::OverLimit
    } else {
        Code::Ok
    };
    RateLimitResponse {
        overall_code: code.into(),
        statuses: result
            .counters
            .iter()
            .map(|counter| write_status(counter, code))
            .collect(),
        ..RateLimitResponse::default()
    }
}

fn write_status(counter: &Counter, code: Code) -> DescriptorStatus {
    let remaining = match code {
        Code::Ok => counter.remaining().unwrap_or_default(),
        Code::OverLimit | Code::Unknown => 0,
    };
    let until_reset = counter.expires_in().unwrap_or(counter.window());
    DescriptorStatus {
        code: code.into(),
        current_limit: Some(RateLimit {
            requests_per_unit: count(counter.max_value()),
            unit: unit(counter).into(),
            ..RateLimit::default()
        }),
        limit_remaining: count(remaining),
        duration_until_reset: Some(seconds(until_reset)),
        ..DescriptorStatus::default()
    }
}

fn count(value: u64) -> u32 {
    u32::try_from(value).expect("limits have 32 bits")
}

/// Whole seconds, at least one, as envoyproxy/ratelimit says them.
fn seconds(duration: time::Duration) -> Duration {
    let seconds = i64::try_from(duration.as_secs()).expect("a window is short");
    Duration {
        seconds: seconds.max(1),
        nanos: 0,
    }
}

fn unit(counter: &Counter) -> Unit {
    match Period::of_seconds(counter.window().as_secs()) {
        Period::Minute => Unit::Minute,
        Period::Day => Unit::Day,
    }
}
