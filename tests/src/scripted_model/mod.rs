//! The scripted model: a stand-in for the model provider, the only stand-in in this project.
//! It speaks OpenAI's Responses API (`POST /v1/responses`, streamed) as Codex 0.42.0 and 0.169.0 use it.
//!
//! # Which script answers
//!
//! 1. The next one in the queue (`ScriptedModel::enqueue`, or the control route).
//! 2. The directive in the last message of the user: `[[model:SCRIPT]]`. The last directive of the message counts.
//!    An array of arrays is one script for each request of the turn: `[[model:[[{"call":"f"}],[{"text":"done"}]]]]`
//!    calls a function first and says `done` when the output of the function has come.
//! 3. The default (`ScriptedModel::set_default`, or the control route).
//! 4. The demo answer: `auto`, with words that quote the prompt.
//!
//! # Scripts
//!
//! A script is a JSON array of steps, or one step: `{"text":"Hello","delta_chars":3,"delay_ms":20}`. Unknown members and
//! orders that cannot be played are refused: HTTP 400 that names the step.
//!
//! | step | what happens |
//! |---|---|
//! | `"text": "..."` | a message; options `phase` (`commentary`, `final_answer`), `open`, and the pace |
//! | `"chars": N` | a message of N generated characters; options as above |
//! | `"echo": P` | a message that reads back a part of the request as JSON: `input`, `tools`, `headers`, `body`; options as above |
//! | `"auto": "..."` | what a small obedient model does: a thought when a summary of the reasoning is asked for; then a call of the tool that the words of the prompt name (or, said by the application, any: "function", "tool"), unless one has answered; else the smallest value that fits the output schema; else a message with this text; option: the pace |
//! | `"refusal": "..."` | a message that is a refusal; options as above |
//! | `"reasoning": ["...", ...]` | a reasoning item with these summary parts; options `raw` (text), `encrypted_content`, and the pace |
//! | `"call": NAME` | a function call; options `arguments` (an object, or a text sent as it is), `call_id`, `namespace`, and the pace |
//! | `"custom_call": NAME` | a call of a free-form tool; options `input` (text), `call_id`, and the pace |
//! | `"usage": {...}` | what the end reports: `input_tokens`, `cached_tokens`, `output_tokens`, `reasoning_tokens`; what is absent is computed: four bytes a token |
//! | `"pause_ms": N` | silence |
//! | `"hold": NAME` | silence until NAME is released; a name that nobody releases is silence for ever |
//! | `"head": {...}` | sends the head with these `headers` (an object) and `rate_limits` |
//! | `"status": N` | instead of a stream: this error status; options `error` (members of the error object), `body` (a text instead), `head` |
//! | `"failed": CODE` | ends with `response.failed`; option `message` |
//! | `"incomplete": REASON` | ends with `response.incomplete` |
//! | `"cut": "abort"` | ends inside an event and inside the HTTP body |
//! | `"cut": "clean"` | ends the HTTP body as if all was said |
//!
//! The head is sent before the first step that is not a silence; silence before `{"head":{}}` is a slow head, silence
//! after it a slow first token. Without an end step, `response.completed` ends the answer. A message with `"open":true`
//! is not closed: the next message step goes on with it (so that a hold can stand inside a message), or the answer
//! breaks off.
//!
//! Pace: `delta_chars` (characters a delta; absent: all in one), `delay_ms` (between two deltas), `writes`
//! (`"per_event"`, `"burst"`: as few writes as possible, `{"bytes":N}`: pieces of N bytes, also inside a character).
//!
//! `rate_limits` is `{"primary": WINDOW, "secondary": WINDOW}`, a WINDOW has `used_percent`, `window_minutes`,
//! and `resets_at` (seconds since the epoch; Codex 0.169.0) or `resets_in_seconds` (Codex 0.42.0).
//!
//! # Control routes
//!
//! | route | what it does |
//! |---|---|
//! | `GET /__control/requests` | the requests so far, with headers, body, `delivery`: `running`, `done`, `cut_by_client` |
//! | `DELETE /__control/requests` | forgets them |
//! | `POST /__control/scripts` | `{"enqueue":[SCRIPT, ...]}`, or `{"default":SCRIPT}` (null: the demo answer) |
//! | `DELETE /__control/scripts` | forgets queue, default and releases |
//! | `POST /__control/release/NAME` | lets go who waits, or will wait, for NAME |

mod error;
mod request;
mod script;
mod service;
mod stream;

pub use request::{Delivery, Recorded};
pub use script::Script;
pub use service::ScriptedModel;
