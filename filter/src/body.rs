//! A request body on its way to the upstream: limits its length, and holds it until its model is known. For a key whose
//! models name efforts, the body is held to its end, since an effort may follow the model.
//! Follows Envoy's body callbacks: while the filter buffers, each call covers all bytes buffered so far; after that,
//! each call covers the next chunk only.

use std::rc::Rc;

use crate::auth::Client;
use crate::config::Config;
use crate::model::EffortRule;
use crate::reply::LocalReply;
use crate::scan::{ModelField, ModelScanner};

/// The most bytes that are read in one host call: the memory of a VM grows to its largest read and never shrinks.
///
/// The filter reads the first chunk and the end at once, since most clients name the model there or send one chunk. In
/// between it waits for this many bytes, because a host call costs as much as the scan of some thousand bytes.
const MAX_READ_BYTES: usize = 64 << 10;

/// The state of a request body.
#[derive(Debug)]
pub enum Body {
    /// Forwarded as it comes; only its length is limited.
    Passthrough {
        /// Bytes forwarded so far.
        bytes: u64,
    },
    /// Buffered until its model is known.
    Gated(ModelGate),
    /// Buffered until its end and discarded, so that the client can read this rejection.
    Draining(LocalReply),
}

/// The action for the bytes of one callback.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyAction {
    /// Forward the chunk.
    Continue,
    /// Buffer it until more is known.
    Buffer,
    /// Forward everything buffered: the client may use the model. Carries the number of scanned bytes.
    Release(usize),
    /// Send this response instead.
    Reject(LocalReply),
}

/// The scan of a buffered body.
#[derive(Debug)]
pub struct ModelGate {
    scanner: ModelScanner,
    buffered_bytes: usize,
    read_bytes: usize,
    client: Option<Rc<Client>>,
}

impl Body {
    /// A body that is limited in length only.
    pub fn passthrough() -> Self {
        Self::Passthrough { bytes: 0 }
    }

    /// A body that must name a model which this client may use (`None`: unauthenticated, any model of the catalogue).
    pub fn gated(client: Option<Rc<Client>>) -> Self {
        let is_restricted = client
            .as_ref()
            .is_some_and(|client| client.models.is_some());
        Self::Gated(ModelGate {
            scanner: if is_restricted {
                ModelScanner::with_efforts()
            } else {
                ModelScanner::default()
            },
            buffered_bytes: 0,
            read_bytes: 0,
            client,
        })
    }

    /// Whether Envoy holds all that has arrived so far.
    pub fn is_held(&self) -> bool {
        match self {
            Self::Gated(_) => true,
            // Short, and bounded by the connections.
            Self::Draining(_) => false,
            Self::Passthrough { .. } => false,
        }
    }

    /// Processes a callback that covers `size` bytes; `read(start, length)` returns part of them.
    pub fn on_data(
        &mut self,
        config: &Config,
        size: usize,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> BodyAction {
        let before = match self {
            Self::Passthrough { bytes } => *bytes,
            // `size` covers all buffered bytes.
            Self::Gated(_) | Self::Draining(_) => 0,
        };
        let total = before.saturating_add(size as u64);
        if total > config.max_body_bytes {
            return BodyAction::Reject(LocalReply::body_too_large(config.max_body_bytes));
        }
        let action = match self {
            Self::Passthrough { .. } => BodyAction::Continue,
            Self::Gated(gate) => gate.on_buffered(config, size, read),
            Self::Draining(_) => BodyAction::Buffer,
        };
        if matches!(action, BodyAction::Continue | BodyAction::Release(_)) {
            *self = Self::Passthrough { bytes: total };
        }
        action
    }

    /// Processes the end of the body, with or without trailers; `read` is that of [`Self::on_data`].
    pub fn on_end(
        &mut self,
        config: &Config,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> BodyAction {
        match std::mem::replace(self, Self::passthrough()) {
            Self::Passthrough { .. } => BodyAction::Continue,
            Self::Gated(gate) => gate.on_end(config, read),
            Self::Draining(reply) => BodyAction::Reject(reply),
        }
    }
}

impl ModelGate {
    fn on_buffered(
        &mut self,
        config: &Config,
        size: usize,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> BodyAction {
        self.buffered_bytes = size;
        let is_first = self.read_bytes == 0;
        if is_first || size.saturating_sub(self.read_bytes) >= MAX_READ_BYTES {
            self.read(config, read)
        } else {
            BodyAction::Buffer
        }
    }

    fn on_end(
        mut self,
        config: &Config,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> BodyAction {
        match self.read(config, read) {
            BodyAction::Buffer => {
                let field = self.scanner.finish();
                match self.admit(config, &field, Scanned::Whole) {
                    Ok(_) => BodyAction::Release(self.read_bytes),
                    Err(reply) => BodyAction::Reject(reply),
                }
            }
            action => action,
        }
    }

    /// Reads the buffered bytes that were not read yet, up to the model.
    fn read(
        &mut self,
        config: &Config,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> BodyAction {
        while self.read_bytes < self.buffered_bytes {
            let length = MAX_READ_BYTES.min(self.buffered_bytes - self.read_bytes);
            // Without progress this loop would not end, so an empty read counts as a failure.
            let Some(piece) = read(self.read_bytes, length).filter(|piece| !piece.is_empty())
            else {
                return BodyAction::Reject(LocalReply::host_failure());
            };
            self.read_bytes += piece.len();
            let Some(field) = self.scanner.feed(&piece).cloned() else {
                continue;
            };
            match self.admit(config, &field, Scanned::SoFar) {
                Ok(true) => return BodyAction::Release(self.read_bytes),
                Ok(false) => {}
                Err(reply) => return BodyAction::Reject(reply),
            }
        }
        BodyAction::Buffer
    }

    /// Admits the model and the efforts found so far; returns false if efforts that matter may follow.
    fn admit(
        &self,
        config: &Config,
        field: &ModelField,
        scanned: Scanned,
    ) -> Result<bool, LocalReply> {
        let client = self.client.as_deref();
        let allowed = client.and_then(|client| client.models.as_ref());
        config.catalogue.admit(field, allowed)?;
        let model = match field {
            ModelField::Named(model) => Some(model),
            ModelField::Missing | ModelField::Invalid(_) => config.catalogue.default_model.as_ref(),
        };
        let rule = allowed.and_then(|patterns| EffortRule::of(model?, patterns));
        let (Some(rule), Some(efforts)) = (rule, self.scanner.efforts()) else {
            return Ok(true);
        };
        rule.admit(efforts)?;
        Ok(scanned == Scanned::Whole)
    }
}

/// The part of the body that was scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scanned {
    SoFar,
    Whole,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(max_body_bytes: u64) -> Config {
        let json = format!(
            r#"{{"auth": "none", "max_body_bytes": {max_body_bytes}, "models": ["codex-5*"], "default_model": "codex-5"}}"#
        );
        Config::load(json.as_bytes(), &Default::default(), std::time::UNIX_EPOCH).unwrap()
    }

    /// Envoy's side: chunks arrive, buffered bytes are covered by each call, and the body ends.
    fn run(config: &Config, pieces: &[&[u8]]) -> (Vec<u8>, Option<u16>) {
        let (mut body, mut buffered, mut upstream) = (Body::gated(None), Vec::new(), Vec::new());
        for piece in pieces {
            buffered.extend_from_slice(piece);
            match body.on_data(config, buffered.len(), reader(&buffered)) {
                BodyAction::Buffer => {}
                BodyAction::Continue | BodyAction::Release(_) => upstream.append(&mut buffered),
                BodyAction::Reject(reply) => return (upstream, Some(reply.status)),
            }
        }
        match body.on_end(config, reader(&buffered)) {
            BodyAction::Reject(reply) => (upstream, Some(reply.status)),
            _ => ([upstream, buffered].concat(), None),
        }
    }

    fn reader(buffered: &[u8]) -> impl Fn(usize, usize) -> Option<Vec<u8>> {
        |start, length| buffered.get(start..start + length).map(<[u8]>::to_vec)
    }

    #[test]
    fn body_is_forwarded_only_once_its_model_is_admitted() {
        let config = config(60);
        let cases: [(&[&[u8]], Option<u16>); 8] = [
            (&[br#"{"messages":[],"#, br#""model":"codex-5"}"#], None),
            (&[br#"{"messages":[],"#, br#""model":"other"}"#], Some(404)),
            (&[br#"{"messages":["#, b"]}"], None),
            (&[br#"{"messages":["#], Some(400)),
            (&[br#"{"model":"codex-5","#, b"anything from here on"], None),
            (&[br#"{"model":"codex-5","#, &[b' '; 50]], Some(413)),
            (&[&[b' '; 61]], Some(413)),
            (&[], Some(400)),
        ];
        for (pieces, status) in cases {
            let (upstream, rejected) = run(&config, pieces);
            assert_eq!(rejected, status, "{pieces:?}");
            if rejected.is_none() {
                assert_eq!(upstream, pieces.concat());
            } else if rejected != Some(413) {
                assert_eq!(upstream, b"");
            }
        }
    }

    #[test]
    fn missing_or_empty_read_rejects_the_request() {
        let config = config(60);
        for bytes in [None, Some(Vec::new())] {
            let action = Body::gated(None).on_data(&config, 5, |_, _| bytes.clone());
            assert_eq!(action, BodyAction::Reject(LocalReply::host_failure()));
        }
    }

    #[test]
    fn long_body_is_read_in_64_kib_pieces() {
        let config = config(1 << 20);
        let body = [b"{\"a\":\"", &[b'a'; 200_000][..], b"\"}"].concat();
        let reads = std::cell::RefCell::new(Vec::new());
        let read = |start: usize, length: usize| {
            reads.borrow_mut().push(length);
            Some(body[start..start + length].to_vec())
        };
        let mut gated = Body::gated(None);
        for buffered in (16_000..body.len()).step_by(16_000).chain([body.len()]) {
            assert_eq!(gated.on_data(&config, buffered, read), BodyAction::Buffer);
        }
        assert_eq!(gated.on_end(&config, read), BodyAction::Release(body.len()));
        // The first chunk; twice all that is buffered once 64 KiB are unread, in two reads; the end.
        let expected = [16_000, 65_536, 14_464, 65_536, 14_464, 24_008];
        assert_eq!(*reads.borrow(), expected);
    }

    proptest! {
        #[test]
        fn result_does_not_depend_on_the_chunks(cuts in prop::collection::vec(0_usize..60, 0..8), first in any::<bool>(), known in any::<bool>()) {
            let model = if known { "\"model\":\"Codex-5-low\"" } else { "\"model\":\"gpt-0\"" };
            let rest = r#""messages":[{"role":"user"}]"#;
            let text = if first { format!("{{{model},{rest}}}") } else { format!("{{{rest},{model}}}") };
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
            let (upstream, rejected) = run(&config(1000), &pieces);
            prop_assert_eq!(rejected, (!known).then_some(404));
            prop_assert_eq!(upstream.len(), if known { text.len() } else { 0 });
        }
    }
}
