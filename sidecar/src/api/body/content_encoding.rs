//! The encoding of a request body, RFC 9110, section 8.4: gzip (RFC 1952), zstd (RFC 8878), or identity.
//! `ruzstd` rather than the crate `zstd`, which compiles the C library and would need a C compiler for every target.

use std::io::{ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::StreamingDecoder;
use tokio::task::spawn_blocking;

use super::buffer::ReservedBuffer;
use super::request_body::RequestBody;
use crate::openai::ApiError;
use crate::turn::MemoryReservation;

/// Largest zstd window, in bytes, that a decoder of HTTP bodies must support (RFC 9659, section 3). A larger one is
/// allowed up to the limit of a body: a frame in one segment has a window of its own length.
const MIN_SUPPORTED_WINDOW: u64 = 8 << 20;

/// Bytes that are decoded at a time.
const PIECE_BYTES: usize = 64 << 10;

/// An encoding that the sidecar decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentEncoding {
    Identity,
    Gzip,
    Zstd,
}

impl ContentEncoding {
    /// Reads the encoding of a request.
    ///
    /// # Errors
    /// 415 for an unknown encoding, and for more than one.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let (first, second) = (values.next(), values.next());
        let name = match (first, second) {
            (None, _) => return Ok(Self::Identity),
            (Some(value), None) => value.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => "",
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("identity") {
            Ok(Self::Identity)
        } else if is("gzip") || is("x-gzip") {
            Ok(Self::Gzip)
        } else if is("zstd") {
            Ok(Self::Zstd)
        } else {
            Err(ApiError::unsupported_media_type(
                "Unsupported `content-encoding`; send the body as gzip, as zstd, or uncompressed (identity).",
            ))
        }
    }

    /// Decodes a body, to at most `limit` bytes; `memory` is that of `body`, and grows with what is decoded.
    ///
    /// # Errors
    /// 413 when the decoded body is longer, 400 when the body does not have this encoding, and the errors of a
    /// reservation that cannot grow.
    pub(super) async fn decode(
        self,
        body: Vec<u8>,
        limit: usize,
        memory: MemoryReservation,
    ) -> Result<RequestBody, ApiError> {
        if self == Self::Identity {
            return RequestBody::new(body, memory);
        }
        // 16 MiB take tens of milliseconds, too long for a thread that serves other connections. The memory goes along:
        // the thread keeps decoding after the client has disconnected.
        let decoded = spawn_blocking(move || self.decode_reserved(body, limit, memory)).await;
        decoded.unwrap_or_else(|_| Err(ApiError::internal("The decoder of the body failed.")))
    }

    fn decode_reserved(
        self,
        body: Vec<u8>,
        limit: usize,
        mut memory: MemoryReservation,
    ) -> Result<RequestBody, ApiError> {
        // The encoded body is no conversation, so that it is charged once.
        memory.resize(body.capacity())?;
        let decoded = self.decode_all(&body, limit, &mut memory)?;
        drop(body);
        RequestBody::new(decoded, memory)
    }

    fn decode_all(
        self,
        body: &[u8],
        limit: usize,
        memory: &mut MemoryReservation,
    ) -> Result<Vec<u8>, ApiError> {
        let buffer = ReservedBuffer::new(limit, memory);
        match self {
            Self::Identity => Ok(body.to_vec()),
            Self::Gzip => self.read_all(&mut MultiGzDecoder::new(body), buffer),
            Self::Zstd => self.decode_zstd(body, limit, buffer),
        }
    }

    /// Decodes one frame. Further frames are refused: each of them costs a window, and no HTTP client sends several.
    fn decode_zstd(
        self,
        body: &[u8],
        limit: usize,
        buffer: ReservedBuffer<'_>,
    ) -> Result<Vec<u8>, ApiError> {
        let max_window = MIN_SUPPORTED_WINDOW.max(limit as u64);
        let mut frame = StreamingDecoder::new_with_max_window_size(body, max_window)
            .map_err(|_| self.invalid())?;
        let decoded = self.read_all(&mut frame, buffer)?;
        let (rest, decoder) = frame.into_parts();
        let sum = decoder.get_checksum_from_data();
        let is_intact = sum.is_none() || sum == decoder.get_calculated_checksum();
        if rest.is_empty() && is_intact {
            Ok(decoded)
        } else {
            Err(self.invalid())
        }
    }

    fn read_all(
        self,
        reader: &mut impl Read,
        mut buffer: ReservedBuffer<'_>,
    ) -> Result<Vec<u8>, ApiError> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return Ok(buffer.into_bytes()),
                Ok(length) => buffer.extend(&piece[..length])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(self.invalid()),
            }
        }
    }

    fn invalid(self) -> ApiError {
        ApiError::invalid(format!(
            "Invalid `content-encoding`: the body is not complete and valid {}; send it again, or uncompressed.",
            self.name()
        ))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::turn::MemoryBudget;

    fn encode(encoding: ContentEncoding, body: &[u8]) -> Vec<u8> {
        match encoding {
            ContentEncoding::Identity => body.to_vec(),
            ContentEncoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            ContentEncoding::Zstd => compress_to_vec(body, CompressionLevel::Fastest),
        }
    }

    fn decode(encoding: ContentEncoding, body: &[u8], limit: usize) -> Result<Vec<u8>, ApiError> {
        let mut memory = MemoryBudget::new(usize::MAX).reservation("ann");
        encoding.decode_all(body, limit, &mut memory)
    }

    const COMPRESSED: [ContentEncoding; 2] = [ContentEncoding::Gzip, ContentEncoding::Zstd];

    #[test]
    fn encoding_is_read_from_exactly_one_header() {
        for (values, expected) in [
            (&[][..], Some(ContentEncoding::Identity)),
            (&["Identity"], Some(ContentEncoding::Identity)),
            (&["GZIP"], Some(ContentEncoding::Gzip)),
            (&["zstd"], Some(ContentEncoding::Zstd)),
            (&["br"], None),
            (&[""], None),
            (&["gzip, zstd"], None),
            (&["identity", "gzip"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            let read = ContentEncoding::of(&headers);
            assert_eq!(read.ok(), expected, "{values:?}");
        }
    }

    #[test]
    fn decoded_body_is_limited_to_the_byte() {
        for encoding in COMPRESSED {
            let body = vec![b'x'; 100_000];
            let encoded = encode(encoding, &body);
            assert!(encoded.len() < 5_000, "{encoding:?}: {}", encoded.len());
            let fits = decode(encoding, &encoded, body.len()).unwrap();
            assert_eq!(fits, body);
            for limit in [0, 1, body.len() - 1] {
                let error = decode(encoding, &encoded, limit).unwrap_err();
                assert_eq!(error.code(), "request_too_large", "{encoding:?} {limit}");
            }
        }
    }

    #[test]
    fn truncated_changed_and_continued_bodies_are_invalid() {
        for encoding in COMPRESSED {
            let text: Vec<u8> = (0..20_000_u32)
                .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
                .collect();
            let encoded = encode(encoding, &text);
            let mut changed = encoded.clone();
            changed[30_000] ^= 1;
            let continued = [&encoded[..], b"more"].concat();
            for body in [
                &encoded[..encoded.len() - 1],
                &changed,
                &continued,
                b"",
                b"{}",
            ] {
                let error = decode(encoding, body, 1 << 20).unwrap_err();
                assert_eq!(error.status.as_u16(), 400, "{encoding:?} {}", body.len());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_rejected(body in prop::collection::vec(any::<u8>(), 0..300), limit in 0_usize..400) {
            for encoding in COMPRESSED {
                let encoded = encode(encoding, &body);
                let decoded = decode(encoding, &encoded, limit);
                prop_assert_eq!(decoded.ok(), (body.len() <= limit).then(|| body.clone()));
                let _ = decode(encoding, &body, limit); // Must not panic.
            }
        }
    }
}
