//! Numbers and encodings that host and guest share.
//! Source: proxy-wasm ABI 0.2.1 (`abi-versions/v0.2.1` in proxy-wasm/spec).

use crate::wasm_host::headers::Headers;

/// What a host function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such key, property, metric or header.
    NotFound = 1,
    /// An argument that the host cannot accept, such as a map that has gone on already.
    BadArgument = 2,
    /// Bytes that the host cannot read.
    ParseFailure = 4,
    /// A pointer outside of the guest's memory.
    InvalidMemoryAccess = 6,
    /// Another worker wrote the key since it was read.
    CasMismatch = 8,
    /// The plugin may not make this call (`capability_restriction_config`).
    InternalFailure = 10,
}

/// Which way a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream, or whoever answers in its place, to the client.
    Response,
}

/// A header map that a guest may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapKind {
    Headers(Direction),
    Trailers(Direction),
}

impl MapKind {
    /// Reads the guest's number; maps of callouts are none, since callouts are refused.
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

/// A buffer that a guest may name.
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

/// How a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum MetricKind {
    /// Only grows.
    Counter = 0,
    /// Goes up and down.
    Gauge = 1,
    /// Keeps every value.
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

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Wire details.
    Trace,
    /// Steps.
    Debug,
    /// Lifecycle, and what the guest writes to standard output.
    Info,
    /// Handled, and not normal.
    Warn,
    /// Wants a person; also what the guest writes to standard error.
    Error,
    /// A panic's last words.
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

/// Lays out pairs as the guest reads them: a count, the lengths, then each name and value with a NUL after it.
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

/// Reads what [`encode_pairs`] lays out; `None` when the lengths do not fit the bytes.
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

/// A length as the guest, whose memory has 32-bit addresses, counts it.
pub(super) fn wire_len(len: usize) -> u32 {
    u32::try_from(len).expect("tests stay below the 4 GiB that a guest can address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_the_layout_of_the_specification() {
        let mut headers = Headers::default();
        headers.add("a", "bc");
        headers.add("d", b"\xff");
        let wire = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0a\0bc\0d\0\xff\0";
        assert_eq!(encode_pairs(&headers), wire);
        assert_eq!(decode_pairs(wire), Some(headers));
    }

    #[test]
    fn pairs_that_do_not_fit_are_refused() {
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
