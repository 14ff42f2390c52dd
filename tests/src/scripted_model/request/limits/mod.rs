//! The limits of the Responses API: a request outside them is answered with the error that the service sends.
//! Texts, codes and paths are those of the OpenAI API, as its reference and public reports of such errors have them.

mod field;
mod format;
mod images;
mod input;
mod messages;
mod request;
mod schema;
mod served_models;
mod tools;

pub(crate) use request::check;
pub use served_models::ServedModels;
