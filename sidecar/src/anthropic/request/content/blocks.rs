//! The content blocks of messages and of tool results: texts and images.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::openai::request::body::{self, AnyObject};
use crate::openai::request::image;
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{Content, Image};

/// The `source` of an image.
#[derive(Deserialize)]
pub(in crate::anthropic::request) struct ImageSource {
    #[serde(rename = "type")]
    kind: Option<String>,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
    file_id: Option<String>,
}

/// A `source`: an object, or the address in a search result, which is refused with its block.
pub(in crate::anthropic::request) struct SourceField(Option<ImageSource>);

impl SourceField {
    /// Returns the source of an image.
    fn image(self) -> Option<ImageSource> {
        self.0
    }
}

/// Deserialized by hand, since serde's untagged enum would lose the path to a wrong field.
impl<'de> Deserialize<'de> for SourceField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SourceVisitor;

        impl<'de> Visitor<'de> for SourceVisitor {
            type Value = SourceField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a type")
            }

            fn visit_str<E: de::Error>(self, _address: &str) -> Result<SourceField, E> {
                Ok(SourceField(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<SourceField, A::Error> {
                let source = ImageSource::deserialize(MapAccessDeserializer::new(object))?;
                Ok(SourceField(Some(source)))
            }
        }

        deserializer.deserialize_any(SourceVisitor)
    }
}

/// The `transformations` of an image.
#[derive(Deserialize)]
pub(in crate::anthropic::request) struct ImageTransformations {
    oversized_image: Option<String>,
}

/// A block in the content of a tool result.
#[derive(Deserialize)]
pub(in crate::anthropic::request) struct ResultBlock {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    source: Option<SourceField>,
    #[serde(default, deserialize_with = "body::object")]
    transformations: Option<ImageTransformations>,
    tool_name: Option<String>,
    cache_control: Option<AnyObject>,
}

/// The content of a tool result, and the tools that it makes available.
#[derive(Default)]
pub(in crate::anthropic::request) struct ResultContent {
    pub(in crate::anthropic::request) content: Vec<Content>,
    pub(in crate::anthropic::request) referenced_tools: Vec<String>,
}

/// Parses the blocks of the tool result at `param`.
///
/// # Errors
/// 400 for a block that is neither a text, an image nor a reference to a tool.
pub(in crate::anthropic::request) fn result_content(
    blocks: Vec<ResultBlock>,
    param: &str,
    ignored: &mut IgnoredFields,
) -> Result<ResultContent, ApiError> {
    const PATH: &str = "messages[].content[].content[]";
    let mut result = ResultContent::default();
    for (index, block) in blocks.into_iter().enumerate() {
        let param = format!("{param}.content[{index}]");
        for (name, is_present, kind) in [
            ("text", block.text.is_some(), "text"),
            ("source", block.source.is_some(), "image"),
            ("transformations", block.transformations.is_some(), "image"),
            ("tool_name", block.tool_name.is_some(), "tool_reference"),
        ] {
            ignored.add_if(&format!("{PATH}.{name}"), is_present && block.kind != kind);
        }
        ignored.add_if(
            &format!("{PATH}.cache_control"),
            block.cache_control.is_some(),
        );
        match block.kind.as_str() {
            "text" => result.content.push(text(block.text, &param)?),
            "image" => {
                let image = image(block.source, block.transformations, &param)?;
                result.content.push(Content::Image(image));
            }
            // The model is offered the tool from here on, so that the text only names it.
            "tool_reference" => {
                let name = block
                    .tool_name
                    .ok_or_else(|| missing("tool_name", &param))?;
                let text = format!("The tool {name} is available now.");
                result.content.push(Content::Text(text));
                result.referenced_tools.push(name);
            }
            other => {
                let text = format!(
                    "Unsupported type {other:?} in a tool result. Use text or image; send a document as text."
                );
                return Err(ApiError::unsupported(format!("{param}.type"), text));
            }
        }
    }
    Ok(result)
}

/// Returns the text of a block.
///
/// # Errors
/// 400 when the block has none.
pub(in crate::anthropic::request) fn text(
    text: Option<String>,
    param: &str,
) -> Result<Content, ApiError> {
    text.map(Content::Text)
        .ok_or_else(|| missing("text", param))
}

/// Returns the image of a block.
///
/// # Errors
/// 400 for a source other than base64, and for data that is not an image.
pub(in crate::anthropic::request) fn image(
    source: Option<SourceField>,
    transformations: Option<ImageTransformations>,
    param: &str,
) -> Result<Image, ApiError> {
    let oversized = transformations.and_then(|all| all.oversized_image);
    if let Some(mode) = oversized.filter(|mode| mode != "downsize") {
        let param = format!("{param}.transformations.oversized_image");
        let text = format!("Unsupported value {mode:?}. Use downsize.");
        return Err(ApiError::unsupported(param, text));
    }
    let source = source
        .and_then(SourceField::image)
        .ok_or_else(|| missing("source", param))?;
    let param = format!("{param}.source");
    let kind = source.kind.ok_or_else(|| missing("type", &param))?;
    match kind.as_str() {
        "base64" => {
            let media_type = source
                .media_type
                .ok_or_else(|| missing("media_type", &param))?;
            let data = source.data.ok_or_else(|| missing("data", &param))?;
            if !media_type.starts_with("image/") {
                let text = format!(
                    "Invalid media type {media_type:?}. Use image/jpeg, image/png, image/gif or image/webp."
                );
                return Err(ApiError::invalid(text).at(format!("{param}.media_type")));
            }
            let url = format!("data:{media_type};base64,{data}");
            image::parse_image(url, None, format!("{param}.data"))
        }
        "url" => {
            let _ = source.url; // Refused with the source, whatever it is.
            let text = "Unsupported image source: this server fetches no URLs for its clients. Send the image as base64.";
            Err(ApiError::unsupported(format!("{param}.url"), text))
        }
        "file" => {
            let _ = source.file_id; // As above.
            let text =
                "Unsupported image source: this server stores no files. Send the image as base64.";
            Err(ApiError::unsupported(format!("{param}.file_id"), text))
        }
        other => {
            let text = format!("Unsupported image source {other:?}. Use base64.");
            Err(ApiError::unsupported(format!("{param}.type"), text))
        }
    }
}

/// Returns the rejection of a block without `field`.
pub(in crate::anthropic::request) fn missing(field: &str, param: &str) -> ApiError {
    ApiError::invalid(format!("Missing `{field}` of the block.")).at(format!("{param}.{field}"))
}
