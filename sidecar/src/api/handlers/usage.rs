//! `GET /v1/usage` and `GET /v1/usage/raw`: totals of the usage log, and its records. The admin listener shows the same.

use std::collections::VecDeque;
use std::io;
use std::time::SystemTime;

use http::{Response, StatusCode};

use crate::api::budget::limits;
use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, json};
use crate::api::state::AppState;
use crate::openai::ApiError;
use crate::openai::usage::{self, UsageQuery, UsageReader};
use crate::store::UsageHour;
use crate::store::ledger::LimitStatus;
use crate::telemetry::{UsageFilter, UsageTotals};

pub(in crate::api) async fn totals(
    state: &AppState,
    context: RequestContext<'_>,
) -> Result<Response<BoxedBody>, ApiError> {
    let query = UsageQuery::parse(context.query(), reader(context), SystemTime::now())?;
    let budget = limits(state, context).await;
    Ok(json(
        StatusCode::OK,
        state.usage_totals(&query, &budget).await?,
    ))
}

pub(in crate::api) async fn records(
    state: &AppState,
    context: RequestContext<'_>,
) -> Result<Response<BoxedBody>, ApiError> {
    let query = UsageQuery::parse(context.query(), reader(context), SystemTime::now())?;
    Ok(json(StatusCode::OK, state.last_usage(query).await?))
}

fn reader(context: RequestContext<'_>) -> UsageReader<'_> {
    UsageReader {
        client: context.client(),
        admin: context.is_admin(),
    }
}

impl AppState {
    /// Returns the totals that `query` asks for, and the limits of the caller's key, as JSON.
    ///
    /// # Errors
    /// The usage log cannot be read.
    pub async fn usage_totals(
        &self,
        query: &UsageQuery,
        budget: &[LimitStatus],
    ) -> Result<Vec<u8>, ApiError> {
        let UsageFilter { client, .. } = &query.filter;
        let totals = match self.sinks.ledger.usage(client.as_deref()).await {
            Some(hours) => fleet_totals(&hours?, query),
            None => {
                let totals = self.sinks.log.totals(&query.filter, query.group).await;
                totals.map_err(|error| unreadable(&error))?
            }
        };
        Ok(usage::totals_body(
            query,
            &totals,
            &self.backend.rate_limits(),
            budget,
        ))
    }

    /// Returns the last records that `query` asks for, as JSON.
    ///
    /// # Errors
    /// The usage log cannot be read.
    pub async fn last_usage(&self, query: UsageQuery) -> Result<Vec<u8>, ApiError> {
        let UsageQuery { filter, limit, .. } = query;
        let last = self
            .sinks
            .log
            .read(VecDeque::new(), move |last, record| {
                if filter.matches(&record) {
                    // The whole log is read, but only the last `limit` records are kept in memory.
                    if last.len() == limit {
                        last.pop_front();
                    }
                    last.push_back(record);
                }
            })
            .await
            .map_err(|error| unreadable(&error))?;
        Ok(usage::records_body(&last))
    }
}

/// Adds up the hours that the times of the query touch.
fn fleet_totals(hours: &[UsageHour], query: &UsageQuery) -> UsageTotals {
    let times = &query.filter.times;
    let touches = |hour: &&UsageHour| hour.end_ms() > times.start && hour.start_ms < times.end;
    let mut totals = UsageTotals::default();
    for hour in hours.iter().filter(touches) {
        totals.add_sums(&hour.sums, hour.start_ms, query.group);
    }
    totals
}

fn unreadable(error: &io::Error) -> ApiError {
    tracing::error!(%error, "usage log read failed");
    ApiError::internal(
        "The usage log cannot be read; the operator finds the reason in the sidecar's log.",
    )
}
