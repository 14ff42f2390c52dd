//! Responses to requests of the child.
//! Each request is answered at once and without a human: an open one would block its turn for ever.

use serde_json::Value;

use super::ids::RequestId;

/// The response to a tool call without an output.
pub(super) const NO_TOOL_OUTPUT: &str = r#""result":{"contentItems":[],"success":false}"#;

/// Returns the member of the response that declines a request of the kind `method`.
pub(super) fn decline(method: &str) -> &'static str {
    match method {
        "item/commandExecution/requestApproval" | "item/fileChange/requestApproval" => {
            r#""result":{"decision":"decline"}"#
        }
        "item/permissions/requestApproval" => r#""result":{"permissions":{},"scope":"turn"}"#,
        "item/tool/requestUserInput" => r#""result":{"answers":{}}"#,
        "mcpServer/elicitation/request" => {
            r#""result":{"action":"decline","content":null,"_meta":null}"#
        }
        "item/tool/call" => NO_TOOL_OUTPUT,
        _ => r#""error":{"code":-32601,"message":"not supported by this client"}"#,
    }
}

/// Returns the line of the response to a tool call with a text as its output.
pub(super) fn tool_output_line(id: &RequestId, text: &str) -> Vec<u8> {
    let text = Value::from(text);
    let result = format!(
        r#""result":{{"contentItems":[{{"type":"inputText","text":{text}}}],"success":true}}"#
    );
    response_line(id, &result)
}

/// Returns the line of a response: the id of the request, and `member`, a JSON member such as `"result":{}`.
pub(super) fn response_line(id: &RequestId, member: &str) -> Vec<u8> {
    format!("{{\"id\":{},{member}}}\n", id.0).into_bytes()
}
