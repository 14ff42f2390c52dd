//! The keys of the buckets in shared data: one for each client, and a fixed table for unauthenticated addresses.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};

use super::gcra::FULL_BUCKET;
use super::{SharedData, SharedValue};

/// The number of buckets for unauthenticated addresses.
///
/// Shared data cannot be removed, so that made-up keys and addresses must share a fixed table. Two addresses of one
/// bucket share its tokens, which costs an unauthenticated client some attempts.
pub const ADDRESS_BUCKETS: u16 = 1024;

/// Creates the missing buckets. Without that, two workers could create one at the same time and lose a charge.
pub fn create_buckets<'a>(shared: &impl SharedData, clients: impl Iterator<Item = &'a str>) {
    let addresses = (0..ADDRESS_BUCKETS).map(numbered_bucket);
    for key in clients.map(client_bucket).chain(addresses) {
        if shared.read(&key) == SharedValue::Missing {
            let _ = shared.replace(&key, &FULL_BUCKET, None); // Fails if another worker has just created it.
        }
    }
}

/// The shared-data key of a client's bucket.
pub fn client_bucket(id: &str) -> String {
    format!("codex-edge.client.{id}")
}

/// The shared-data key of the bucket of unauthenticated requests from this address.
///
/// IPv6 customers have a network of 2^64 addresses, so that the /64 counts; the port never does.
pub fn address_bucket(address: &[u8]) -> String {
    let network = std::str::from_utf8(address)
        .ok()
        .and_then(parse_address)
        .map(network_bytes);
    // All workers must arrive at the same bucket, so this hasher must not have a random key.
    let mut hasher = DefaultHasher::new();
    hasher.write(network.as_deref().unwrap_or(address));
    let number = hasher.finish() % u64::from(ADDRESS_BUCKETS);
    numbered_bucket(u16::try_from(number).unwrap_or_default())
}

fn numbered_bucket(number: u16) -> String {
    format!("codex-edge.address.{number}")
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text
        .parse()
        .map(|socket: SocketAddr| socket.ip())
        .or_else(|_| text.parse());
    Some(address.ok()?.to_canonical())
}

fn network_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().into_iter().take(8).collect(),
    }
}
