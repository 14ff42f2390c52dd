//! A plugin configuration of any bytes: rejected, or with a usable key; no message repeats a key.

use std::time::UNIX_EPOCH;

use filter::config::{Auth, Config, Environment};

/// A key that must not occur in a message; seeds have it in every position of a key.
const SECRET: &str = "sk-the-secret";

pub(crate) fn check(json: &[u8]) {
    let key = ("PROXY_API_KEY".to_owned(), SECRET.to_owned());
    for environment in [Environment::new(), Environment::from([key])] {
        match Config::load(json, &environment, UNIX_EPOCH) {
            Ok(config) => {
                let clients = config.keyring.clients().count();
                assert!(
                    clients > 0 || config.auth == Auth::None,
                    "an accepted configuration has a key"
                );
                assert!(!format!("{config:?}").contains(SECRET));
            }
            Err(error) => assert!(!error.to_string().contains(SECRET), "{error}"),
        }
    }
}
