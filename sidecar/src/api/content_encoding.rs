//! The encoding of a request body, RFC 9110, section 8.4: gzip (RFC 1952), zstd (RFC 8878), or identity.
//! `ruzstd` rather than the crate `zstd`, which compiles the C library and would need a C compiler for every target.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::StreamingDecoder;
use tokio::task::spawn_blocking;

use crate::openai::ApiError;

/// Largest zstd window, in bytes, that a decoder of HTTP bodies must support (RFC 9659, section 3). A larger one is
/// allowed up to the limit of a body: a frame in one segment has a window of its own length.
const MIN_SUPPORTED_WINDOW: u64 = 8 << 20;

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

    /// Decodes a body, to at most `limit` bytes.
    ///
    /// # Errors
    /// 413 when the decoded body is longer, 400 when the body does not have this encoding.
    pub(super) async fn decode(self, body: Bytes, limit: usize) -> Result<Bytes, ApiError> {
        if self == Self::Identity {
            return Ok(body);
        }
        // 16 MiB take tens of milliseconds, too long for a thread that serves other connections.
        let decoded = spawn_blocking(move || self.decode_all(&body, limit)).await;
        decoded.unwrap_or_else(|_| Err(ApiError::internal("The decoder of the body failed.")))
    }

    fn decode_all(self, body: &[u8], limit: usize) -> Result<Bytes, ApiError> {
        let decoded = match self {
            Self::Identity => Ok(body.to_vec()),
            Self::Gzip => read_bounded(&mut MultiGzDecoder::new(body), limit),
            Self::Zstd => decode_zstd(body, limit),
        };
        match decoded {
            Ok(decoded) if decoded.len() > limit => Err(ApiError::body_too_large(limit)),
            Ok(decoded) => Ok(decoded.into()),
            Err(_) => Err(ApiError::invalid(format!(
                "Invalid `content-encoding`: the body is not complete and valid {}; send it again, or uncompressed.",
                self.name()
            ))),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Reads at most one byte more than `limit`, which tells a body that is too long from one that just fits.
fn read_bounded(reader: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut decoded)?;
    Ok(decoded)
}

/// Decodes one frame. Further frames are refused: each of them costs a window, and no HTTP client sends several.
fn decode_zstd(body: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let max_window = MIN_SUPPORTED_WINDOW.max(limit as u64);
    let mut frame =
        StreamingDecoder::new_with_max_window_size(body, max_window).map_err(io::Error::other)?;
    let decoded = read_bounded(&mut frame, limit)?;
    let (rest, decoder) = frame.into_parts();
    let sum = decoder.get_checksum_from_data();
    let is_intact = sum.is_none() || sum == decoder.get_calculated_checksum();
    if decoded.len() > limit || (rest.is_empty() && is_intact) {
        Ok(decoded)
    } else {
        Err(io::ErrorKind::InvalidData.into())
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
            let fits = encoding.decode_all(&encoded, body.len()).unwrap();
            assert_eq!(fits, body);
            for limit in [0, 1, body.len() - 1] {
                let error = encoding.decode_all(&encoded, limit).unwrap_err();
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
                let error = encoding.decode_all(body, 1 << 20).unwrap_err();
                assert_eq!(error.status.as_u16(), 400, "{encoding:?} {}", body.len());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_rejected(body in prop::collection::vec(any::<u8>(), 0..300), limit in 0_usize..400) {
            for encoding in COMPRESSED {
                let encoded = encode(encoding, &body);
                let decoded = encoding.decode_all(&encoded, limit);
                prop_assert_eq!(decoded.ok(), (body.len() <= limit).then(|| body.clone().into()));
                let _ = encoding.decode_all(&body, limit); // Must not panic.
            }
        }
    }
}
