//! The options of a response that the request decides, for every route.

use super::delivery::Delivery;
use crate::openai::request::ignored::IgnoredFields;
use crate::turn::TruncationRules;

/// The text of a refusal. Codex reports that a refusal came, and drops its text.
pub(crate) const REFUSAL_TEXT: &str =
    "The model refused to answer. Codex does not forward the text of a refusal.";

/// The options of a response.
#[derive(Debug)]
pub struct ResponseOptions {
    /// The delivery that the client asked for.
    pub delivery: Delivery,
    /// The fields of the request that have no effect.
    pub ignored: IgnoredFields,
    /// The rules that end the text before the model does.
    pub truncation: TruncationRules,
    /// The model id as the client wrote it.
    pub model_id: String,
    /// The tokens of the model's context window, if Codex reported them.
    pub context_window: Option<u64>,
    /// Characters of the prompt, for the operator's limit and for the estimate of a usage that Codex does not report.
    pub prompt_chars: usize,
}
