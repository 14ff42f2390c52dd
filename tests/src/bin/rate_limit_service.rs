//! The rate limit service of the tests as a program, in the place of envoyproxy/ratelimit, with the same variables.

use std::env;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tests::rate_limit::{Counts, RateLimitService};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let redis = redis::Client::open(format!("redis://{}", env::var("REDIS_URL")?))?;
    // Like the original, it ends if Redis cannot be reached at the start.
    redis.get_multiplexed_async_connection().await?;
    let folder = Path::new(&env::var("RUNTIME_ROOT")?)
        .join(env::var("RUNTIME_SUBDIRECTORY")?)
        .join("config");
    let config = fs::read_to_string(folder.join("config.yaml"))?;
    let listen = SocketAddr::from(([0, 0, 0, 0], 8081));
    let service = RateLimitService::listen(listen, &config, Counts::Redis(redis));
    signal(SignalKind::terminate())?.recv().await;
    service.stop().await;
    Ok(())
}
