//! The numbers and encodings of the ABI.
//! Follows the proxy-wasm ABI 0.2.1 (`abi-versions/v0.2.1` in proxy-wasm/spec).

use crate::wasm_host::headers::Headers;

/// The result of a host function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// No such key, property, metric or header.
    NotFound = 1,
    /// An invalid argument, such as a map that was forwarded already.
    BadArgument = 2,
    /// Bytes that cannot be parsed.
    ParseFailure = 4,
    /// A pointer outside the guest's memory.
    InvalidMemoryAccess = 6,
    /// Another worker has written the key since it was read.
    CasMismatch = 8,
    /// The call is not allowed (`capability_restriction_config`).
    InternalFailure = 10,
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream, the filter or Envoy to the client.
    Response,
}

/// A header map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapKind {
    Headers(Direction),
    Trailers(Direction),
}

impl MapKind {
    /// Parses the guest's number. Maps of callouts are unknown, since callouts are rejected.
    pub(super) fn parse(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Headers(Direction::Request)),
            1 => Some(Self::Trailers(Direction::Request)),
            2 => Some(Self::Headers(Direction::Response)),
            3 => Some(Self::Trailers(Direction::Response)),
            _ => None,
        }
    }
}

/// A buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BufferKind {
    Body(Direction),
    VmConfiguration,
    PluginConfiguration,
}

impl BufferKind {
    pub(super) fn parse(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Body(Direction::Request)),
            1 => Some(Self::Body(Direction::Response)),
            6 => Some(Self::VmConfiguration),
            7 => Some(Self::PluginConfiguration),
            _ => None,
        }
    }
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum MetricKind {
    /// A value that only grows.
    Counter = 0,
    /// A value that moves in both directions.
    Gauge = 1,
    /// A list of values.
    Histogram = 2,
}

impl MetricKind {
    pub(super) fn parse(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Counter),
            1 => Some(Self::Gauge),
            2 => Some(Self::Histogram),
            _ => None,
        }
    }
}

/// The level of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details of the wire.
    Trace,
    /// Single steps.
    Debug,
    /// The lifecycle, and the guest's standard output.
    Info,
    /// An unusual event that was handled.
    Warn,
    /// An event that needs an operator, and the guest's standard error.
    Error,
    /// The message of a panic.
    Critical,
}

impl LogLevel {
    pub(super) fn parse(number: u32) -> Option<Self> {
        const LEVELS: [LogLevel; 6] = [
            LogLevel::Trace,
            LogLevel::Debug,
            LogLevel::Info,
            LogLevel::Warn,
            LogLevel::Error,
            LogLevel::Critical,
        ];
        LEVELS.get(usize::try_from(number).ok()?).copied()
    }
}

/// Serializes pairs: a count, the lengths, then each name and value with a NUL at its end.
pub fn encode_pairs(headers: &Headers) -> Vec<u8> {
    let mut wire = wire_len(headers.len()).to_le_bytes().to_vec();
    for (name, value) in headers.iter() {
        wire.extend(wire_len(name.len()).to_le_bytes());
        wire.extend(wire_len(value.len()).to_le_bytes());
    }
    for (name, value) in headers.iter() {
        for text in [name, value] {
            wire.extend(text);
            wire.push(0);
        }
    }
    wire
}

/// Parses the format of [`encode_pairs`]; returns `None` if the lengths do not match the bytes.
pub fn decode_pairs(wire: &[u8]) -> Option<Headers> {
    let (count, lengths) = take_u32(wire)?;
    let count = usize::try_from(count).ok()?;
    let mut texts = lengths.get(count.checked_mul(8)?..)?;
    let mut lengths = lengths;
    let mut headers = Headers::default();
    for _ in 0..count {
        let (name_len, rest) = take_u32(lengths)?;
        let (value_len, rest) = take_u32(rest)?;
        lengths = rest;
        let name = take_text(&mut texts, name_len)?;
        let value = take_text(&mut texts, value_len)?;
        headers.add(name, value);
    }
    Some(headers)
}

fn take_u32(wire: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = wire.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn take_text<'a>(texts: &mut &'a [u8], len: u32) -> Option<&'a [u8]> {
    let (text, rest) = texts.split_at_checked(usize::try_from(len).ok()?)?;
    let (nul, rest) = rest.split_first()?;
    *texts = rest;
    (*nul == 0).then_some(text)
}

/// Converts a length to the guest's 32 bits.
pub(super) fn wire_len(len: usize) -> u32 {
    u32::try_from(len).expect("tests stay below the 4 GiB that a guest can address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_serialized_as_specified() {
        let mut headers = Headers::default();
        headers.add("a", "bc");
        headers.add("d", b"\xff");
        let wire = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0a\0bc\0d\0\xff\0";
        assert_eq!(encode_pairs(&headers), wire);
        assert_eq!(decode_pairs(wire), Some(headers));
    }

    #[test]
    fn pairs_with_wrong_lengths_are_rejected() {
        let wire = b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0";
        for len in 0..wire.len() {
            assert_eq!(decode_pairs(&wire[..len]), None, "{len} bytes");
        }
        assert_eq!(decode_pairs(b"\xff\xff\xff\xff"), None);
        assert_eq!(
            decode_pairs(b"\x01\0\0\0\x01\0\0\0\0\0\0\0ax\0"),
            None,
            "no NUL"
        );
    }
}
