//! Requests without a valid API key: the routes that need one, and the rejection.

use super::PolicyHost;
use crate::config::{Auth, Config};
use crate::rate_limit::{Exhausted, address_bucket};
use crate::reply::LocalReply;
use crate::reply::RejectReason;
use crate::route::Route;

/// Whether a route needs an API key under this configuration.
pub(super) fn needs_key(config: &Config, route: Route) -> bool {
    config.auth == Auth::Keys
        && match route {
            Route::Open => false,
            Route::Models => config.protect_models,
            Route::Generate | Route::Usage | Route::Verify | Route::Guarded => true,
        }
}

/// Rejects an unauthenticated request: 401, or 429 once its address has exceeded `unauthenticated_rate_limit`.
pub(super) fn reject_unauthenticated(config: &Config, host: &impl PolicyHost) -> LocalReply {
    let Some(limit) = config.unauthenticated_limit else {
        return LocalReply::invalid_api_key();
    };
    let Some(now) = host.now() else {
        return LocalReply::host_failure();
    };
    match limit.charge(host, &unauthenticated_bucket(host), now) {
        Ok(_) => LocalReply::invalid_api_key(),
        Err(Exhausted { retry_after, .. }) => {
            LocalReply::rate_limited(RejectReason::UnauthenticatedRateLimited, retry_after)
        }
    }
}

/// The bucket of an unauthenticated request, by its client address.
pub(super) fn unauthenticated_bucket(host: &impl PolicyHost) -> String {
    address_bucket(&host.client_address().unwrap_or_default())
}
