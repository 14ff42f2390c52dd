//! The place of the filter's configuration in `filter.yaml`: the text of a scalar, with its quoting.
//!
//! Considered: a YAML library. None that is kept writes a file back with its comments and its order.

use std::ops::Range;

/// The type of the configuration in Envoy's file.
const TYPE: &str = "google.protobuf.StringValue";

/// The scalar with the filter's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigScalar {
    /// The bytes of the text, without quotes.
    pub(super) range: Range<usize>,
    /// Whether each quote is written twice.
    is_quoted: bool,
}

impl ConfigScalar {
    /// Finds the scalar: `value` after the type, in single quotes or as a block (`|`). `None` for any other form.
    pub(super) fn find(yaml: &str) -> Option<Self> {
        let after_type = yaml.find(TYPE)? + TYPE.len();
        let mut line_start = after_type + yaml.get(after_type..)?.find('\n')? + 1;
        // Comments may stand between the type and the value.
        loop {
            let line = yaml.get(line_start..)?.lines().next()?;
            let content = line.trim_start();
            if let Some(value) = content.strip_prefix("value:") {
                let start = line_start + line.len() - value.len();
                return Self::of_value(yaml, start, line.len() - content.len());
            }
            if !content.is_empty() && !content.starts_with('#') {
                return None;
            }
            line_start += line.len() + 1;
        }
    }

    /// `start` is the byte after `value:`, and `indent` that of its line.
    fn of_value(yaml: &str, start: usize, indent: usize) -> Option<Self> {
        let rest = yaml.get(start..)?;
        let value = rest.trim_start_matches(' ');
        let begin = start + rest.len() - value.len();
        if let Some(text) = value.strip_prefix('\'') {
            let end = end_of_quoted(text)?;
            return Some(Self {
                range: begin + 1..begin + 1 + end,
                is_quoted: true,
            });
        }
        if !value.starts_with('|') {
            return None;
        }
        let first = begin + value.find('\n')? + 1;
        let block = yaml.get(first..)?.split_inclusive('\n');
        let is_inside =
            |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() > indent;
        let length: usize = block.take_while(is_inside).map(str::len).sum();
        Some(Self {
            range: first..first + length,
            is_quoted: false,
        })
    }

    /// Returns the configuration as the filter gets it, but for white space.
    pub(super) fn json(&self, yaml: &str) -> String {
        let text = &yaml[self.range.clone()];
        match self.is_quoted {
            true => text.replace("''", "'"),
            false => text.to_owned(),
        }
    }

    /// Returns JSON as it is written into the scalar.
    pub(super) fn written(&self, json: &str) -> String {
        match self.is_quoted {
            true => json.replace('\'', "''"),
            false => json.to_owned(),
        }
    }
}

/// Returns the length of a text up to the quote that ends it.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut end = 0;
    loop {
        end += text.get(end..)?.find('\'')?;
        match text
            .get(end + 1..)
            .is_some_and(|rest| rest.starts_with('\''))
        {
            true => end += 2,
            false => return Some(end),
        }
    }
}
