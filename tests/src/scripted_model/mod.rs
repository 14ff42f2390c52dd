//! The scripted model: a stand-in for the model provider, the only stand-in in this project.
//! It implements OpenAI's Responses API (`POST /v1/responses`, streamed) as Codex 0.42.0, 0.169.0 and 0.171.0 use it.
//!
//! # Strictness
//!
//! A request that the service would reject gets the service's error, HTTP 400, before a script is chosen: a model that
//! the Codex under test does not list, an effort that the model does not have, image data that cannot be decoded, a
//! schema outside the rules of `strict: true`, a name or a call id outside its limits, a call without its output.
//!
//! # Choice of the script
//!
//! The first source that has a script provides it:
//!
//! 1. The queue (`ScriptedModel::enqueue`, or the control route).
//! 2. The directive in the last user message: `[[model:SCRIPT]]`. The last directive of the message counts.
//!    An array of arrays is one script for each request of the turn: `[[model:[[{"call":"f"}],[{"text":"done"}]]]]`
//!    first calls a function, and sends the text `done` after the output of the function.
//! 3. The default (`ScriptedModel::set_default`, or the control route).
//! 4. The demo response: `auto`, with a text that quotes the prompt.
//!
//! # Scripts
//!
//! A script is a JSON array of steps, or one step: `{"text":"Hello","delta_chars":3,"delay_ms":20}`. Unknown fields and
//! impossible orders of steps are rejected with an HTTP 400 that names the step.
//!
//! | step | effect |
//! |---|---|
//! | `"text": "..."` | a message; options `phase` (`commentary`, `final_answer`), `open`, `whole`, and the pace |
//! | `"chars": N` | a message of N generated characters; options as above |
//! | `"echo": P` | a message with a part of the request as JSON: `input`, `tools` (wherever they are offered), `headers`, `body`; options as above |
//! | `"auto": "..."` | the behaviour of a small model: a reasoning item if the request asks for a summary; then a call of the tool that the prompt names (or of the first tool if the developer message contains "function" or "tool"), unless a tool output has arrived; else the smallest value that fits the output schema; else a message with this text; option: the pace |
//! | `"refusal": "..."` | a message that is a refusal; options as above |
//! | `"reasoning": ["...", ...]` | a reasoning item with these summary parts; options `raw` (text), `encrypted_content`, and the pace |
//! | `"call": NAME` | a function call; options `arguments` (an object, or a text sent unchanged), `call_id`, `namespace`, and the pace |
//! | `"custom_call": NAME` | a call of a free-form tool; options `input` (text), `call_id`, and the pace |
//! | `"usage": {...}` | the usage in the last event: `input_tokens`, `cached_tokens`, `output_tokens`, `reasoning_tokens`; absent counts are computed, see below; with `input_tokens`, absent `cached_tokens` are 0 |
//! | `"pause_ms": N` | a pause |
//! | `"hold": NAME` | a pause until NAME is released; a name that is never released pauses for ever |
//! | `"head": {...}` | sends the response head with these `headers` (an object) and `rate_limits` |
//! | `"status": N` | an error status instead of a stream; options `error` (fields of the error object), `body` (a text instead), `head` |
//! | `"failed": CODE` | ends with `response.failed`; option `message` |
//! | `"incomplete": REASON` | ends with `response.incomplete` |
//! | `"cut": "abort"` | closes the connection inside an event and inside the HTTP body |
//! | `"cut": "clean"` | ends the HTTP body properly, but without a last event |
//!
//! The head is sent before the first step that is not a pause: a pause before `{"head":{}}` delays the head, a pause
//! after it delays the first token. Without an end step, `response.completed` ends the stream. A message with
//! `"open":true` is not closed: the next message step continues it (so that a hold can stand inside a message), or the
//! stream is cut. A message with `"whole":true` has no deltas: `response.output_item.done` alone has its text. After
//! an open message it adds the rest of that message, for which no delta is sent either.
//!
//! Pace: `delta_chars` (characters a delta; absent: one delta), `delay_ms` (pause between two deltas), `writes`
//! (`"per_event"`, `"burst"`: as few writes as possible, `{"bytes":N}`: chunks of N bytes, also inside a character).
//!
//! `rate_limits` is `{"primary": WINDOW, "secondary": WINDOW}`, a WINDOW has `used_percent`, `window_minutes`,
//! and `resets_at` (seconds since the epoch; Codex 0.169.0) or `resets_in_seconds` (Codex 0.42.0).
//!
//! # Usage and the prompt cache
//!
//! Computed counts take four bytes for a token. The input is the text that the model reads, as compact JSON: model,
//! `text`, tools and instructions, then the items of `input` without their `id`. Other fields do not count.
//!
//! As the service does, the scripted model keeps the prompts of earlier requests under their `prompt_cache_key`.
//! `cached_tokens` is the longest common start with one of them: 0 below 1,024 tokens, rounded down to 128. Prompts are
//! kept from the start of a stream on, also of one that a script or the client cuts; those of the least recently used
//! keys are dropped above 2^21 blocks of 128 tokens or 4,096 keys. Nothing is cached for a request without a key.
//!
//! # Control routes
//!
//! | route | effect |
//! |---|---|
//! | `GET /__control/requests` | returns the recorded requests with headers, body, the computed `input_tokens` and `cached_tokens`, `delivery`: `running`, `done`, `cut_by_client` |
//! | `DELETE /__control/requests` | deletes the recorded requests |
//! | `POST /__control/scripts` | `{"enqueue":[SCRIPT, ...]}`, or `{"default":SCRIPT}` (null: the demo response) |
//! | `DELETE /__control/scripts` | deletes queue, default and releases |
//! | `POST /__control/only/MODEL` | retires each model but MODEL |
//! | `DELETE /__control/only` | serves all models again |
//! | `POST /__control/release/NAME` | releases NAME for present and future holds |

mod error;
mod request;
mod script;
mod service;
mod stream;

pub use request::{Delivery, PromptTokens, RecordedRequest, ServedModels};
pub use script::Script;
pub use service::ScriptedModel;
