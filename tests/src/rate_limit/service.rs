//! The gRPC service, with Limitador for the limits. Follows Envoy's `rls.proto`.

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
use limitador::CheckResult;
use limitador::counter::Counter;
use limitador::limit::Context;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::counts::{Counts, Limiter};
use super::limits::LimitPeriod;
use crate::http::DEADLINE;

/// A running rate limit service.
#[derive(Debug)]
pub struct RateLimitService {
    address: SocketAddr,
    received: Arc<Mutex<Vec<String>>>,
    stopping: CancellationToken,
    tasks: JoinSet<()>,
}

impl RateLimitService {
    /// Starts a service on a free port of loopback with the limits of the YAML text `config`, counting in memory.
    ///
    /// # Panics
    /// When `config` is not in the format of envoyproxy/ratelimit.
    #[must_use]
    pub fn start(config: &str) -> Self {
        Self::listen(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            config,
            Counts::Memory,
        )
    }

    /// Starts a service that listens on `listen`.
    ///
    /// # Panics
    /// When `config` is not in the format of envoyproxy/ratelimit, or the address is in use.
    #[must_use]
    pub fn listen(listen: SocketAddr, config: &str, counts: Counts) -> Self {
        let incoming = TcpIncoming::bind(listen).expect("the address is free");
        let address = incoming.local_addr().expect("the socket is bound");
        let received = Arc::default();
        let service = CountingService {
            limiter: Limiter::new(config, counts),
            received: Arc::clone(&received),
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
            received,
            stopping,
            tasks,
        }
    }

    /// Returns the address of the service.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listening socket and all connections of the service.
    ///
    /// # Panics
    /// When a peer keeps its connection open.
    pub async fn stop(self) {
        self.stopping.cancel();
        let ended = timeout(DEADLINE, self.tasks.join_all()).await;
        ended.expect("Envoy closes its connection after GOAWAY");
    }

    /// Returns the descriptors received so far, in order of arrival, each as `key=value` pairs separated by spaces.
    ///
    /// # Panics
    /// When a request has panicked.
    #[must_use]
    pub fn descriptors(&self) -> Vec<String> {
        self.received.lock().expect("no holder panics").clone()
    }
}

struct CountingService {
    limiter: Limiter,
    received: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl server::RateLimitService for CountingService {
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
        self.record(descriptor);
        let result = self
            .limiter
            .count(&domain.into(), &context(descriptor))
            .await
            .map_err(Status::unavailable)?;
        Ok(Response::new(write_response(&result)))
    }
}

impl CountingService {
    fn record(&self, descriptor: &RateLimitDescriptor) {
        let pairs: Vec<_> = descriptor
            .entries
            .iter()
            .map(|entry| format!("{}={}", entry.key, entry.value))
            .collect();
        let mut received = self.received.lock().expect("no holder panics");
        received.push(pairs.join(" "));
    }
}

/// Returns the values against which Limitador evaluates the conditions of a limit.
fn context(descriptor: &RateLimitDescriptor) -> Context<'static> {
    let entries: HashMap<_, _> = descriptor
        .entries
        .iter()
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

/// Returns whole seconds, at least one, as envoyproxy/ratelimit does.
fn seconds(duration: time::Duration) -> Duration {
    let seconds = i64::try_from(duration.as_secs()).expect("a window is short");
    Duration {
        seconds: seconds.max(1),
        nanos: 0,
    }
}

fn unit(counter: &Counter) -> Unit {
    match LimitPeriod::of_seconds(counter.window().as_secs()) {
        LimitPeriod::Minute => Unit::Minute,
        LimitPeriod::Day => Unit::Day,
    }
}
