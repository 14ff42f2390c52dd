//! The keys of the buckets in shared data: one for each client, and a fixed table for unauthenticated addresses.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};

use super::gcra::FULL_BUCKET;
use super::{SharedData, SharedValue};

/// The number of buckets for unauthenticated addresses.
///
/// A value in shared data cannot be removed, so the table has a fixed size. Addresses with the same number share the
/// tokens of one bucket.
pub const ADDRESS_BUCKETS: u16 = 1024;

/// Creates the missing buckets. Without that, two workers could create one at the same time and lose a charge.
pub fn create_buckets<'a>(shared: &impl SharedData, clients: impl Iterator<Item = &'a str>) {
    let addresses = (0..ADDRESS_BUCKETS).map(numbered_bucket);
    for key in clients.map(client_bucket).chain(addresses) {
        if shared.read(&key) == SharedValue::Missing {
            let _ = shared.replace(&key, &FULL_BUCKET, None); // Unconditional, so it loses no race.
        }
    }
}

/// The shared-data key of a client's bucket.
pub fn client_bucket(id: &str) -> String {
    format!("codex-edge.client.{id}")
}

/// The shared-data key of the bucket for unauthenticated requests from an address.
///
/// Of an IPv6 address only the /64 counts, since one customer has a whole /64. The port does not count.
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
