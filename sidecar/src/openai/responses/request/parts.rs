//! The content parts of a message or of a tool output.
//! OpenAI API reference, "Create a model response", `input`.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::openai::request::image;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::Content;

#[derive(Deserialize)]
pub(in crate::openai::responses) struct InputPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<String>,
    detail: Option<String>,
    #[expect(dead_code, reason = "serde reports the elements")]
    annotations: Option<Vec<IgnoredAny>>,
    #[expect(dead_code, reason = "serde reports the elements")]
    logprobs: Option<Vec<IgnoredAny>>,
}

impl InputPart {
    /// Adds the fields that belong to a part of another type. `path` is that of the part.
    pub(super) fn add_ignored(&self, path: &str, ignored: &mut IgnoredFields) {
        let kind = self.kind.as_str();
        let is_text = matches!(kind, "input_text" | "output_text" | "text");
        let is_image = kind == "input_image";
        for (name, is_present) in [
            ("text", self.text.is_some() && !is_text),
            ("refusal", self.refusal.is_some() && kind != "refusal"),
            ("image_url", self.image_url.is_some() && !is_image),
            ("detail", self.detail.is_some() && !is_image),
        ] {
            if is_present {
                ignored.add_if(&format!("{path}.{name}"), true);
            }
        }
    }
}

/// Converts the string or the parts at `param`.
///
/// # Errors
/// 400 for an invalid part, and for a type that Codex cannot pass on; `param` is the path of the part.
pub(super) fn content(
    content: StringOrList<InputPart>,
    param: &str,
) -> Result<Vec<Content>, ApiError> {
    match content {
        StringOrList::Text(text) => Ok(vec![Content::Text(text)]),
        StringOrList::List(parts) => {
            let convert = |(number, part)| parse_part(part, &format!("{param}[{number}]"));
            parts.into_iter().enumerate().map(convert).collect()
        }
    }
}

fn parse_part(part: InputPart, param: &str) -> Result<Content, ApiError> {
    let missing = |field: &str| {
        ApiError::invalid(format!("Missing `{field}` of the content part."))
            .at(format!("{param}.{field}"))
    };
    match part.kind.as_str() {
        "input_text" | "output_text" | "text" => {
            let text = part.text.ok_or_else(|| missing("text"))?;
            Ok(Content::Text(text))
        }
        "refusal" => {
            let text = part.refusal.ok_or_else(|| missing("refusal"))?;
            Ok(Content::Text(text))
        }
        "input_image" => {
            let url = part.image_url.ok_or_else(|| {
                // An uploaded image, by `file_id`, has no `image_url`; the sidecar has no files.
                let text =
                    "Missing `image_url` of the image part: a data URL, data:image/png;base64,….";
                ApiError::unsupported(format!("{param}.image_url"), text)
            })?;
            let detail = image::parse_detail(part.detail.as_deref(), param)?;
            image::parse_image(url, detail, format!("{param}.image_url")).map(Content::Image)
        }
        other => {
            let text =
                format!("Unsupported content part type {other:?}. Use input_text or input_image.");
            Err(ApiError::unsupported(format!("{param}.type"), text))
        }
    }
}
