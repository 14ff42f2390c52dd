//! The fields of a request outside its input and its tools, and the order of the checks.
//! OpenAI API reference, "Create a model response".

use serde_json::Value;

use super::field::Field;
use super::served_models::ServedModels;
use super::{format, input, tools};
use crate::scripted_model::error::ApiError;

/// Checks a request, and returns the name of its model.
///
/// # Errors
/// The error that the Responses API returns.
pub(crate) fn check(body: &Value, served: &ServedModels) -> Result<String, ApiError> {
    let body = Field::body(body);
    body.object()?;
    let model = body.required("model")?;
    let reasoning = body.optional("reasoning");
    let effort = reasoning
        .as_ref()
        .and_then(|field| field.optional("effort"));
    served.check(&model, effort.as_ref())?;
    check_options(&body, reasoning.as_ref())?;
    input::check(&body.required("input")?)?;
    tools::check(&body)?;
    if body.value["stream"] != true {
        let text = "Only `stream: true` is supported; Codex sends no other value.";
        return Err(ApiError::invalid(text).at("stream"));
    }
    model.text().map(str::to_owned)
}

fn check_options(body: &Field<'_>, reasoning: Option<&Field<'_>>) -> Result<(), ApiError> {
    if let Some(summary) = reasoning.and_then(|field| field.optional("summary")) {
        // Codex 0.42.0 sends `none` for no summary, later versions leave the field out.
        summary.one_of(&["auto", "concise", "detailed", "none"])?;
    }
    if let Some(tier) = body.optional("service_tier") {
        tier.one_of(&["auto", "default", "flex", "scale", "priority"])?;
    }
    let Some(text) = body.optional("text") else {
        return Ok(());
    };
    if let Some(verbosity) = text.optional("verbosity") {
        verbosity.one_of(&["low", "medium", "high"])?;
    }
    text.optional("format")
        .as_ref()
        .map_or(Ok(()), format::check)
}
