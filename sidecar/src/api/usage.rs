//! The routes of usage: sums of what turns cost, and the records that they are made of.

use std::collections::VecDeque;
use std::io;
use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderName, Response, StatusCode};

use super::state::{Body, EDGE_CLIENT, Routes, json, query, text};
use crate::openai::ApiError;
use crate::openai::usage::{self, Query, Reader};
use crate::telemetry::UsageTotals;

/// Whether the caller's key may see what others used.
const EDGE_ADMIN: HeaderName = HeaderName::from_static("x-codex-edge-admin");

impl Routes {
    pub(super) async fn usage(&self, head: &Parts) -> Result<Response<Body>, ApiError> {
        let asked = Query::parse(query(head), reader(head), SystemTime::now())?;
        Ok(json(StatusCode::OK, self.usage_sums(&asked).await?))
    }

    pub(super) async fn usage_records(&self, head: &Parts) -> Result<Response<Body>, ApiError> {
        let asked = Query::parse(query(head), reader(head), SystemTime::now())?;
        Ok(json(StatusCode::OK, self.last_usage(asked).await?))
    }

    /// The sums that are asked for, as JSON.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn usage_sums(&self, asked: &Query) -> Result<Vec<u8>, ApiError> {
        let (selection, group) = (asked.selection.clone(), asked.group);
        let sums = self
            .books
            .log
            .read(UsageTotals::default(), move |sums, record| {
                if selection.matches(&record) {
                    sums.add(&record, group);
                }
            });
        let sums = sums.await.map_err(|error| unreadable(&error))?;
        let plan = self.backend.rate_limits();
        Ok(usage::sums(asked, &sums, &plan))
    }

    /// The last of the records that are asked for, as JSON.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn last_usage(&self, asked: Query) -> Result<Vec<u8>, ApiError> {
        let Query {
            selection, limit, ..
        } = asked;
        let last = self.books.log.read(VecDeque::new(), move |last, record| {
            if selection.matches(&record) {
                if last.len() == limit {
                    last.pop_front();
                }
                last.push_back(record);
            }
        });
        let last = last.await.map_err(|error| unreadable(&error))?;
        Ok(usage::records(&last))
    }
}

fn reader(head: &Parts) -> Reader<'_> {
    Reader {
        client: text(&head.headers, &EDGE_CLIENT).unwrap_or_default(),
        admin: text(&head.headers, &EDGE_ADMIN) == Some("true"),
    }
}

fn unreadable(error: &io::Error) -> ApiError {
    tracing::error!(%error, "usage cannot be told");
    ApiError::internal(
        "The usage log cannot be read; the operator finds the reason in the sidecar's log.",
    )
}
