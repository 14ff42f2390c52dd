//! A warning for a ChatGPT login that turns of several API keys use.

use std::sync::OnceLock;

use crate::codex::{Login, PERSONAL_LOGIN};

/// The clients of the login, as far as the warning needs them.
#[derive(Debug, Default)]
pub(super) struct SharedLogin {
    first: OnceLock<String>,
    warned: OnceLock<()>,
}

impl SharedLogin {
    /// Notices a turn of `client`, and warns at the first turn of a second client.
    pub(super) fn notice(&self, client: &str, login: &Login) {
        if self.is_news(client, login) {
            tracing::warn!(reason = PERSONAL_LOGIN, "chatgpt login shared");
        }
    }

    /// Whether `client` is the second one of a ChatGPT login, for the first time.
    fn is_news(&self, client: &str, login: &Login) -> bool {
        // Without a key clients cannot be told apart.
        if *login != Login::ChatGpt || client.is_empty() {
            return false;
        }
        let first = self.first.get_or_init(|| client.to_owned());
        first != client && self.warned.set(()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_client_of_a_chatgpt_login_is_news_once() {
        let shared = SharedLogin::default();
        for (client, login, expected) in [
            ("ann", Login::Key, false),
            ("bob", Login::Key, false),
            ("ann", Login::ChatGpt, false),
            ("", Login::ChatGpt, false),
            ("ann", Login::ChatGpt, false),
            ("bob", Login::ChatGpt, true),
            ("eve", Login::ChatGpt, false),
        ] {
            assert_eq!(
                shared.is_news(client, &login),
                expected,
                "{client} {login:?}"
            );
        }
    }
}
