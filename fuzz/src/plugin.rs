//! A plugin configuration of any bytes is refused, or has a usable key; and what is said of it never repeats a key.

use std::time::UNIX_EPOCH;

use filter::config::{Auth, Config, Environment};

/// What no message may repeat; seeds have it wherever a key may stand.
const SECRET: &str = "sk-the-secret";

pub(crate) fn check(json: &[u8]) {
    let key = ("PROXY_API_KEY".to_owned(), SECRET.to_owned());
    for environment in [Environment::new(), Environment::from([key])] {
        match Config::load(json, &environment, UNIX_EPOCH) {
            Ok(config) => {
                let clients = config.keyring.clients().count();
                assert!(
                    clients > 0 || config.auth == Auth::None,
                    "nobody can get in"
                );
                assert!(!format!("{config:?}").contains(SECRET));
            }
            Err(error) => assert!(!error.to_string().contains(SECRET), "{error}"),
        }
    }
}
