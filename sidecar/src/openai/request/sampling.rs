//! Sampling parameters: checked and listed among the ignored fields, since Codex has no field for them.
//! An invalid value is rejected here, so that a client does not first learn about it when it moves to another server.
//! OpenAI API reference, "Create chat completion".

use super::fields;
use crate::openai::IgnoredFields;
use crate::openai::response::error::ApiError;

/// The sampling parameters that all three request formats have.
// Each format has the fields in its own struct and copies them here: `#[serde(flatten)]` would buffer the fields and
// lose the path to a wrong one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampling {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) presence_penalty: Option<f64>,
    pub(crate) frequency_penalty: Option<f64>,
}

impl Sampling {
    /// Checks the ranges, and adds the parameters that are set to `ignored`.
    ///
    /// # Errors
    /// 400 when a number is out of range.
    pub(crate) fn check(self, ignored: &mut IgnoredFields) -> Result<(), ApiError> {
        for (name, number, range) in [
            ("temperature", self.temperature, 0.0..=2.0),
            ("top_p", self.top_p, 0.0..=1.0),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0),
        ] {
            fields::check_range(name, number, range)?;
            ignored.add_if(name, number.is_some());
        }
        Ok(())
    }
}
