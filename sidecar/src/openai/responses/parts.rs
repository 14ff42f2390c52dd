//! The parts of a message, and of what a tool returned.
//! OpenAI API reference, "Create a model response", `input`.

use serde::Deserialize;

use crate::openai::ApiError;
use crate::openai::request::image;
use crate::openai::request::string_or_list::StringOrList;
use crate::turn::Content;

#[derive(Deserialize)]
pub(super) struct RawPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<String>,
    detail: Option<String>,
}

/// A text or parts, at `param`.
///
/// # Errors
/// A part is none that Codex takes.
pub(super) fn content(
    content: StringOrList<RawPart>,
    param: &str,
) -> Result<Vec<Content>, ApiError> {
    match content {
        StringOrList::Text(text) => Ok(vec![Content::Text(text)]),
        StringOrList::List(parts) => {
            let numbered = parts.into_iter().enumerate();
            numbered
                .map(|(number, part)| read(part, &format!("{param}[{number}]")))
                .collect()
        }
    }
}

fn read(part: RawPart, param: &str) -> Result<Content, ApiError> {
    let missing = |field: &str| {
        ApiError::invalid(format!("This part needs {field}.")).at(format!("{param}.{field}"))
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
                let text =
                    "Images are taken in data URLs only: image_url: \"data:image/png;base64,…\".";
                ApiError::unsupported(format!("{param}.image_url"), text)
            })?;
            let detail = image::detail(part.detail.as_deref(), param)?;
            let image = image::read(url, detail)
                .map_err(|text| ApiError::unsupported(format!("{param}.image_url"), text))?;
            Ok(Content::Image(image))
        }
        other => {
            let text = format!(
                "Parts of the type {other:?} are not supported; use input_text or input_image."
            );
            Err(ApiError::unsupported(format!("{param}.type"), text))
        }
    }
}
