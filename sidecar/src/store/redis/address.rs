//! The address of the server, which may have a password.

use std::fmt;
use std::str::FromStr;

use redis::{Client, ConnectionAddr, IntoConnectionInfo};

/// An address such as `redis://:password@host:6379/0` or `redis+unix:///run/redis.sock`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress(String);

/// A text that is not an address, without the text, which may have a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or redis+unix:///PATH")]
pub struct RedisAddressError;

impl RedisAddress {
    /// Whether the text begins as an address does.
    pub fn is_meant_by(text: &str) -> bool {
        [
            "redis:",
            "redis+unix:",
            "rediss:",
            "valkey:",
            "valkey+unix:",
        ]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    }

    pub(super) fn client(&self) -> Client {
        Client::open(self.0.as_str()).expect("checked by `from_str`")
    }
}

impl FromStr for RedisAddress {
    type Err = RedisAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let info = text.into_connection_info().map_err(|_| RedisAddressError)?;
        match info.addr() {
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_) => Ok(Self(text.to_owned())),
            // TLS would add a second implementation of it to the sidecar.
            _ => Err(RedisAddressError),
        }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password stands before the last @ or in the query.
        let (before_query, _) = self.0.split_once('?').unwrap_or((&self.0, ""));
        let without_scheme = before_query.split_once("://").map_or("", |(_, rest)| rest);
        let place = without_scheme.rsplit_once('@');
        write!(
            f,
            "redis {}",
            place.map_or(without_scheme, |(_, place)| place)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_print_no_password() {
        for (text, printed) in [
            ("redis://127.0.0.1", "redis 127.0.0.1"),
            ("redis://:se@cret@redis:6380/1", "redis redis:6380/1"),
            (
                "redis+unix:///run/redis.sock?pass=secret",
                "redis /run/redis.sock",
            ),
        ] {
            let address = text.parse::<RedisAddress>();
            let shown = address.map(|address| format!("{address:?}"));
            assert_eq!(shown.as_deref(), Ok(printed), "{text}");
        }
        for text in [
            "redis://",
            "rediss://host",
            "http://host",
            "redis:host",
            "memory",
        ] {
            assert_eq!(
                text.parse::<RedisAddress>(),
                Err(RedisAddressError),
                "{text}"
            );
        }
    }
}
