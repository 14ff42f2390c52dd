//! Starts the turn of a request, with the observers that record it.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::budget::{allowance, reserve, token_cap};
use super::request::RequestContext;
use super::route::Dialect;
use super::state::AppState;
use super::turn_recorder::{TurnInfo, TurnRecorder};
use crate::openai::{ApiError, Delivery, ResponseOptions};
use crate::store::ReasoningCollector;
use crate::turn::{ClientTurn, Profile, Timers, TruncationRules, TurnObserver, TurnRequest, Usage};

/// Rejects a prompt that is over the operator's own limit, before it takes a permit; `param` is the field that holds
/// the prompt.
///
/// # Errors
/// The prompt is estimated at more than `PROXY_MAX_PROMPT_TOKENS`.
pub(super) fn check_prompt(
    state: &AppState,
    prompt_chars: usize,
    param: &str,
) -> Result<(), ApiError> {
    check_prompt_or(state, prompt_chars, |tokens, max| {
        ApiError::prompt_too_long(tokens, max).at(param)
    })
}

/// As [`check_prompt`], with the error that `too_long` returns for the estimate and the limit.
pub(super) fn check_prompt_or(
    state: &AppState,
    prompt_chars: usize,
    too_long: impl FnOnce(u64, u64) -> ApiError,
) -> Result<(), ApiError> {
    let Some(max) = state.config.max_prompt_tokens.map(NonZeroU64::get) else {
        return Ok(());
    };
    match Usage::estimate(prompt_chars, 0).input_tokens {
        tokens if tokens > max => Err(too_long(tokens, max)),
        _ => Ok(()),
    }
}

/// Starts the turn of a chat or a legacy completion.
///
/// # Errors
/// As for [`start`].
pub(super) async fn start_completion(
    state: &AppState,
    context: RequestContext<'_>,
    turn: TurnRequest,
    reply: &ResponseOptions,
) -> Result<ClientTurn, ApiError> {
    let info = turn_info(context, &turn, &reply.model_id, reply.prompt_chars)?
        .with_delivery(reply.delivery);
    let collector =
        ReasoningCollector::new(Arc::clone(&state.reasoning), context.client().to_owned());
    let observers: Vec<Box<dyn TurnObserver>> = vec![Box::new(collector)];
    start(
        state,
        context,
        turn,
        reply.delivery,
        &reply.truncation,
        info,
        observers,
    )
    .await
}

/// Starts a turn. Dropping the result interrupts the turn, unless `kill_on_disconnect` is off.
///
/// # Errors
/// The turn is not admitted (`Backend::begin`); the usage log records the error.
pub(super) async fn start(
    state: &AppState,
    context: RequestContext<'_>,
    mut turn: TurnRequest,
    delivery: Delivery,
    rules: &TruncationRules,
    info: TurnInfo,
    mut observers: Vec<Box<dyn TurnObserver>>,
) -> Result<ClientTurn, ApiError> {
    // Before the turn is queued, so that the recorded time includes the queue, and a rejection is recorded too.
    let client = info.client.clone();
    let (budget, prompt_chars, model) = (
        info.budget.clone(),
        info.prompt_chars,
        info.effective_model.clone(),
    );
    let mut recorder = TurnRecorder::new(state.sinks.clone(), info);
    let timers = timers(state, turn.profile, delivery);
    state.shared_login.notice(&client, &state.backend.login());
    let allowance = match reserve(state, &client, budget, prompt_chars).await {
        Ok(reservation) => {
            if turn.profile == Profile::Agent {
                turn.token_cap = reservation.as_ref().and_then(token_cap);
            }
            let allowance = allowance(state, &model, &turn, reservation.as_ref());
            if let Some(reservation) = &reservation {
                context.limits.get_or_init(|| reservation.limits().to_vec());
            }
            recorder.reserve(reservation);
            allowance
        }
        Err(error) => {
            recorder.reject(&error);
            return Err(error);
        }
    };
    let turn = match state.backend.begin(&client, turn, timers).await {
        Ok(turn) => turn,
        Err(error) => {
            let error = ApiError::from(error);
            recorder.reject(&error);
            return Err(error);
        }
    };
    observers.push(Box::new(recorder));
    let background = (!state.config.kill_on_disconnect).then(|| state.background.clone());
    Ok(ClientTurn::new(turn, background, rules, observers).within(allowance))
}

/// Holds the head of a stream until the model has answered or `PROXY_STREAM_HEAD_MS` has passed. Returns the delivery:
/// `Buffered` for a stream that failed before its first output, so that the error has its HTTP status.
pub(super) async fn hold_head(
    state: &AppState,
    delivery: Delivery,
    turn: &mut ClientTurn,
) -> Delivery {
    let has_failed = match (delivery, state.config.stream_head) {
        (Delivery::Stream { .. }, Some(limit)) => turn.fails_before_output(limit).await,
        // The client of a response in the background polls for the result, and needs the id at once.
        (Delivery::Stream { .. } | Delivery::Background | Delivery::BackgroundStream, _)
        | (Delivery::Buffered, _) => false,
    };
    if has_failed || delivery == Delivery::Buffered {
        return Delivery::Buffered;
    }
    turn.on_status_sent();
    delivery
}

fn timers(state: &AppState, profile: Profile, delivery: Delivery) -> Timers {
    let timers = state.config.timers;
    Timers {
        request: match profile {
            Profile::Chat => timers.request,
            Profile::Agent => timers.agent_request,
        },
        first_event: timers.first_event,
        idle: match delivery {
            Delivery::Stream { .. } | Delivery::BackgroundStream => timers.stream_idle,
            Delivery::Buffered | Delivery::Background => timers.buffered_idle,
        },
    }
}

/// Returns the record's fields that are known before the turn starts.
///
/// # Errors
/// As for [`RequestContext::budget`].
pub(super) fn turn_info(
    context: RequestContext<'_>,
    turn: &TurnRequest,
    model_id: &str,
    prompt_chars: usize,
) -> Result<TurnInfo, ApiError> {
    Ok(TurnInfo {
        request_id: context.request_id(),
        client: context.client().to_owned(),
        route: context.route.pattern(),
        dialect: Dialect::of(context.head),
        requested_model: model_id.to_owned(),
        effective_model: turn.model.name.clone(),
        stream: false,
        prompt_chars,
        budget: context.budget()?,
        conversation: turn.hint.clone(),
        span: context.span.cloned(),
    })
}
