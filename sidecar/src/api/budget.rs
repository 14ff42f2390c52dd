//! The budget of a request's key: its reservation, its headers, and its state for `/v1/usage`.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::TRAILER;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::request::RequestContext;
use super::response::BoxedBody;
use super::state::AppState;
use crate::openai::ApiError;
use crate::store::ledger::{Budget, Clock, Ledger, LimitStatus, Reservation, ReserveError};
use crate::turn::{
    Grant, OutputAllowance, OutputBudget, Profile, Scope, SpentLimit, TokenCap, TurnError,
    TurnRequest, Usage,
};

/// For the filter: the end of the window, in milliseconds since the Unix epoch, before which no turn of the key can begin.
/// The filter removes the header.
const EDGE_BUDGET_SPENT: HeaderName = HeaderName::from_static("x-codex-edge-budget-spent");
// The limit of which least is left: its name and tokens, the tokens left, and the seconds until it resets.
const EDGE_BUDGET_LIMIT: HeaderName = HeaderName::from_static("x-codex-edge-budget-limit");
const EDGE_BUDGET_REMAINING: HeaderName = HeaderName::from_static("x-codex-edge-budget-remaining");
const EDGE_BUDGET_RESET: HeaderName = HeaderName::from_static("x-codex-edge-budget-reset");

/// Reserves the estimated input of a turn, and the first slice of its output; `None` for a key without a budget.
///
/// # Errors
/// 429 if too little is left; 503 if the ledger cannot be written.
pub(super) async fn reserve(
    state: &AppState,
    client: &str,
    budget: Option<Budget>,
    prompt_chars: usize,
) -> Result<Option<Reservation>, ApiError> {
    let Some(budget) = budget else {
        return Ok(None);
    };
    let input = Usage::estimate(prompt_chars, 0).input_tokens;
    let reserved = state.sinks.ledger.reserve(client, budget, input).await;
    reserved.map(Some).map_err(|error| {
        let error = match error {
            ReserveError::Spent(limit) => TurnError::KeyBudgetSpent {
                limit,
                retry_after: until(limit),
            },
            ReserveError::Reserved(limit) => TurnError::KeyBudgetReserved(limit),
            ReserveError::Unavailable => TurnError::LedgerUnavailable,
        };
        error.into()
    })
}

fn until(limit: SpentLimit) -> Duration {
    Duration::from_millis(limit.resets_at_ms.saturating_sub(Clock::system().now_ms()))
}

/// Returns the output that a reservation allows a turn of `model`.
pub(super) fn allowance(
    state: &AppState,
    model: &str,
    turn: &TurnRequest,
    reservation: Option<&Reservation>,
) -> Option<OutputAllowance> {
    let reservation = reservation?;
    let ledger = &state.sinks.ledger;
    let slices = reservation.output_budget();
    let budget: Box<dyn OutputBudget> = match turn.profile {
        Profile::Chat => slices,
        Profile::Agent => Box::new(AgentBudget {
            slices,
            ledger: ledger.clone(),
            client: reservation.client().to_owned(),
            budget: reservation.budget().clone(),
        }),
    };
    let first = reservation.first_output();
    let chars_per_token = ledger.ratios().chars_per_token(model);
    let cap = turn.token_cap.map(|cap| cap.limit);
    Some(OutputAllowance::new(budget, first, chars_per_token).with_cap(cap))
}

/// Returns the cap that Codex itself applies to an agent, since Codex may begin the next model request before the sidecar
/// has compared the last one with the ledger. It is taken from the limit with the fewest tokens left. Codex counts no cached
/// input, and has one weight for all output, so the smaller weight is used: the cap never ends a turn that the limit allows.
pub(super) fn token_cap(reservation: &Reservation) -> Option<TokenCap> {
    let left = |limit: &LimitStatus| limit.limit.saturating_sub(limit.spent);
    // An agent uses many more tokens of input than of output.
    let tightest = |limit: &&LimitStatus| (limit.name.scope == Scope::Output, left(limit));
    let limit = reservation.limits().iter().min_by_key(tightest)?;
    let weight = |counts: bool| f64::from(u8::from(counts));
    Some(TokenCap {
        limit: limit.as_spent(),
        tokens: left(limit),
        input_weight: weight(limit.name.scope != Scope::Output),
        output_weight: weight(limit.name.scope != Scope::Input)
            * reservation.budget().reasoning_weight().min(1.0),
    })
}

/// The budget of an agent, whose model requests have inputs that no reservation foresees: it is compared with the tokens
/// that Codex reports after each of them.
#[derive(Debug)]
struct AgentBudget {
    slices: Box<dyn OutputBudget>,
    ledger: Ledger,
    client: String,
    budget: Budget,
}

impl OutputBudget for AgentBudget {
    fn ask(&mut self) -> oneshot::Receiver<Grant> {
        self.slices.ask()
    }

    fn check(&mut self, used: &Usage) -> Option<BoxFuture<'static, Grant>> {
        let (ledger, client) = (self.ledger.clone(), self.client.clone());
        let (budget, used) = (self.budget.clone(), self.budget.weigh(used));
        let check = async move {
            let Some(limits) = ledger.status(&client, budget).await else {
                return Grant::Unavailable;
            };
            let spent = limits.into_iter().filter(|limit| {
                let used = match limit.name.scope {
                    Scope::All => used.input.saturating_add(used.output),
                    Scope::Input => used.input,
                    Scope::Output => used.output,
                };
                limit.spent.saturating_add(used) >= limit.limit
            });
            let last = spent.max_by_key(|limit| limit.resets_at_ms);
            last.map_or(Grant::Tokens(0), |limit| Grant::Spent(limit.as_spent()))
        };
        Some(check.boxed())
    }
}

/// Returns the limits of the caller's key; none for a key without a budget, or if the ledger does not answer.
pub(super) async fn limits(state: &AppState, context: RequestContext<'_>) -> Vec<LimitStatus> {
    match context.budget() {
        Ok(Some(budget)) => {
            let limits = state.sinks.ledger.status(context.client(), budget).await;
            limits.unwrap_or_default()
        }
        Ok(None) | Err(_) => Vec::new(),
    }
}

/// Adds the headers about the limits of the caller's key; for a stream, of the limits when its turn was reserved. A stream ends
/// with the headers about the limits at its end as trailers, so that the filter learns of a spent budget before the key's next
/// request.
pub(super) async fn with_budget(
    state: &AppState,
    context: RequestContext<'_>,
    mut response: Response<BoxedBody>,
) -> Response<BoxedBody> {
    let Ok(Some(budget)) = context.budget() else {
        return response;
    };
    let is_stream = response.body().size_hint().exact().is_none();
    let (ledger, client) = (state.sinks.ledger.clone(), context.client().to_owned());
    let limits = match context.limits.get().filter(|_| is_stream) {
        Some(limits) => limits.clone(),
        None => {
            let limits = ledger.recent_status(&client, budget.clone()).await;
            limits.unwrap_or_default()
        }
    };
    response.headers_mut().extend(budget_headers(&limits));
    if !is_stream {
        return response;
    }
    // hyper sends no trailer that the head has not announced.
    let name = HeaderValue::from(EDGE_BUDGET_SPENT);
    response.headers_mut().insert(TRAILER, name);
    response.map(|body| {
        // Polled after the last frame: the turn was settled when its stream ended.
        let trailers = async move {
            let limits = ledger.recent_status(&client, budget).await?;
            spent_header(&limits).map(|header| Ok(HeaderMap::from_iter([header])))
        };
        body.with_trailers(trailers).boxed_unsync()
    })
}

/// Returns the headers about the limits of a key.
fn budget_headers(limits: &[LimitStatus]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut insert = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    if let Some(limit) = limits.iter().min_by_key(|limit| limit.left()) {
        let seconds = limit
            .resets_at_ms
            .saturating_sub(Clock::system().now_ms())
            .div_ceil(1000);
        insert(EDGE_BUDGET_LIMIT, format!("{}={}", limit.name, limit.limit));
        insert(EDGE_BUDGET_REMAINING, limit.left().to_string());
        insert(EDGE_BUDGET_RESET, seconds.to_string());
    }
    headers.extend(spent_header(limits));
    headers
}

/// Returns the header for the filter, if a limit is used up.
fn spent_header(limits: &[LimitStatus]) -> Option<(HeaderName, HeaderValue)> {
    let spent = limits.iter().filter(|limit| limit.is_spent());
    let end = spent.map(|limit| limit.resets_at_ms).max()?;
    Some((EDGE_BUDGET_SPENT, HeaderValue::from(end)))
}
