//! The numbers of a conversation: share of cached tokens, model requests, times, kinds of threads.

use std::collections::BTreeMap;

use tests::scripted_model::{PromptTokens, ScriptedModel};

use super::exchange::Exchange;
use crate::stats::{count, ms, quantile};

/// Requests at the start that do not count for the share of cached tokens: the first has no predecessor, and the prefix
/// of the second may be smaller than the smallest that is cached.
const UNCOUNTED: usize = 2;

/// Percentage of cached tokens from the third request on.
pub(super) fn cached_percent(requests: impl IntoIterator<Item = PromptTokens>) -> f64 {
    let (mut input, mut cached) = (0.0, 0.0);
    for request in requests.into_iter().skip(UNCOUNTED) {
        input += tokens(request.input);
        cached += tokens(request.cached);
    }
    100.0 * cached / f64::max(input, 1.0)
}

/// As [`cached_percent`], for a cache that has each whole prompt when the next request arrives.
pub(super) fn possible_percent(requests: &[PromptTokens]) -> f64 {
    let with_whole_prefix = requests.iter().enumerate().map(|(position, request)| {
        let previous = requests[position.saturating_sub(1)].input;
        PromptTokens {
            cached: previous.min(request.input),
            ..*request
        }
    });
    cached_percent(with_whole_prefix)
}

/// As [`cached_percent`], from the usage that the client is told.
pub(super) fn reported_percent(exchanges: &[Exchange]) -> f64 {
    cached_percent(exchanges.iter().map(|exchange| exchange.reply.usage))
}

/// The token counts of the model requests since the model was cleared.
pub(super) fn model_requests(model: &ScriptedModel) -> Vec<PromptTokens> {
    let requests = model.requests().into_iter();
    requests
        .filter(|request| request.path == "/v1/responses")
        .map(|request| request.prompt.unwrap_or_default())
        .collect()
}

/// The `q` quantile of the time to the first token, in milliseconds.
pub(super) fn first_token_ms(exchanges: &[Exchange], q: f64) -> f64 {
    let times = exchanges.iter().map(|exchange| ms(exchange.first_token));
    quantile(&times.collect::<Vec<_>>(), q)
}

/// The number of requests by kind of thread, such as "1 new, 19 warm".
pub(super) fn threads(exchanges: &[Exchange]) -> String {
    let mut kinds = BTreeMap::<&str, usize>::new();
    for exchange in exchanges {
        *kinds
            .entry(exchange.thread.as_deref().unwrap_or("not named"))
            .or_default() += 1;
    }
    kinds
        .iter()
        .map(|(kind, number)| format!("{number} {kind}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A count of tokens for arithmetic.
fn tokens(tokens: u64) -> f64 {
    count(usize::try_from(tokens).unwrap_or(usize::MAX))
}
