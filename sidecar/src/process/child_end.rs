//! The end of a child that has failed, as it is logged.

use std::process::ExitStatus;

/// The exit status of a failed child, and the reason in the child's own words.
#[derive(Debug)]
pub struct ChildEnd {
    /// `None` if the child still runs.
    pub status: Option<ExitStatus>,
    /// The line of its stderr that names the reason best.
    pub last_words: Option<String>,
}

impl ChildEnd {
    /// Returns the exit status as text, or `running`.
    pub fn status_text(&self) -> String {
        self.status
            .map_or_else(|| "running".to_owned(), |status| status.to_string())
    }
}
