//! What clients say about how a model chooses its words. Codex has no field for any of it: it is checked all the same,
//! so that a client that sends nonsense is told now and not when it moves elsewhere, and named among the ignored.
//! OpenAI API reference, "Create chat completion".

use super::fields;
use crate::openai::Ignored;
use crate::openai::response::error::ApiError;

/// The numbers that every dialect takes.
#[derive(Debug, Clone, Copy)]
pub(in crate::openai) struct Sampling {
    pub(in crate::openai) temperature: Option<f64>,
    pub(in crate::openai) top_p: Option<f64>,
    pub(in crate::openai) presence_penalty: Option<f64>,
    pub(in crate::openai) frequency_penalty: Option<f64>,
}

impl Sampling {
    /// Checks the ranges, and notes what is there.
    ///
    /// # Errors
    /// A number is out of its range.
    pub(in crate::openai) fn check(self, ignored: &mut Ignored) -> Result<(), ApiError> {
        for (name, number, range) in [
            ("temperature", self.temperature, 0.0..=2.0),
            ("top_p", self.top_p, 0.0..=1.0),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0),
        ] {
            fields::check_range(name, number, range)?;
            ignored.note(name, number.is_some());
        }
        Ok(())
    }
}
