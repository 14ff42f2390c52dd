//! A request body on its way to the upstream: how long it is, and whether its model is known yet.
//! The host's rules for body pieces are Envoy's: while a filter holds a body, every call shows all that is held;
//! once it lets go, each call shows the next piece only.

use std::rc::Rc;

use crate::auth::Client;
use crate::config::Config;
use crate::reply::LocalReply;
use crate::scan::{Finding, ModelScanner};

/// How much of a body is read at once: a whole body would make the guest's memory grow, and it never shrinks.
/// Less than that is read of the first piece, for most clients name the model there or write no more, and at the end;
/// in between, a read costs the host as much as the scan of some thousand bytes.
const MAX_READ_BYTES: usize = 64 << 10;

/// A body that is being watched.
#[derive(Debug)]
pub enum Body {
    /// Flows, and is only measured.
    Flowing {
        /// What has gone by.
        bytes: u64,
    },
    /// Is held until its model is known.
    Gated(Gate),
    /// Is held until it ends, and thrown away: this is the answer.
    Discarded(LocalReply),
}

/// What to do with the piece at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Let it flow on.
    Flow,
    /// Keep it until more is known.
    Hold,
    /// Let go of everything: the model is one that this client may use. So many bytes were looked at.
    Admit(usize),
    /// Answer this instead.
    Refuse(LocalReply),
}

/// What is known of a held body.
#[derive(Debug)]
pub struct Gate {
    scanner: ModelScanner,
    held_bytes: usize,
    read_bytes: usize,
    client: Option<Rc<Client>>,
}

impl Body {
    /// A body that is only measured.
    pub fn flowing() -> Self {
        Self::Flowing { bytes: 0 }
    }

    /// A body that has to name a model which this client (`None`: anybody) may use.
    pub fn gated(client: Option<Rc<Client>>) -> Self {
        Self::Gated(Gate {
            scanner: ModelScanner::default(),
            held_bytes: 0,
            read_bytes: 0,
            client,
        })
    }

    /// Takes notice of `size` bytes, which `read(start, length)` hands out.
    pub fn on_data(
        &mut self,
        config: &Config,
        size: usize,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> Progress {
        let before = match self {
            Self::Flowing { bytes } => *bytes,
            Self::Gated(_) | Self::Discarded(_) => 0,
        };
        let total = before.saturating_add(size as u64);
        if total > config.max_body_bytes {
            return Progress::Refuse(LocalReply::body_too_large(config.max_body_bytes));
        }
        let progress = match self {
            Self::Flowing { .. } => Progress::Flow,
            Self::Gated(gate) => gate.on_held(config, size, read),
            Self::Discarded(_) => Progress::Hold,
        };
        if matches!(progress, Progress::Flow | Progress::Admit(_)) {
            *self = Self::Flowing { bytes: total };
        }
        progress
    }

    /// Takes notice of the end, with or without trailers; `read` is that of [`Self::on_data`].
    pub fn on_end(
        &mut self,
        config: &Config,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> Progress {
        match std::mem::replace(self, Self::flowing()) {
            Self::Flowing { .. } => Progress::Flow,
            Self::Gated(gate) => gate.on_end(config, read),
            Self::Discarded(reply) => Progress::Refuse(reply),
        }
    }
}

impl Gate {
    fn on_held(
        &mut self,
        config: &Config,
        size: usize,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> Progress {
        self.held_bytes = size;
        let is_first = self.read_bytes == 0;
        if is_first || size.saturating_sub(self.read_bytes) >= MAX_READ_BYTES {
            self.read(config, read)
        } else {
            Progress::Hold
        }
    }

    fn on_end(
        mut self,
        config: &Config,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> Progress {
        match self.read(config, read) {
            Progress::Hold => {
                let finding = self.scanner.finish();
                decide(config, &finding, self.read_bytes, self.client.as_deref())
            }
            progress => progress,
        }
    }

    /// Reads all that is held and was not read yet, or as much of it as tells the model.
    fn read(
        &mut self,
        config: &Config,
        read: impl Fn(usize, usize) -> Option<Vec<u8>>,
    ) -> Progress {
        while self.read_bytes < self.held_bytes {
            let length = MAX_READ_BYTES.min(self.held_bytes - self.read_bytes);
            let Some(piece) = read(self.read_bytes, length).filter(|piece| !piece.is_empty())
            else {
                return Progress::Refuse(LocalReply::host_failure());
            };
            self.read_bytes += piece.len();
            if let Some(finding) = self.scanner.feed(&piece) {
                return decide(config, finding, self.read_bytes, self.client.as_deref());
            }
        }
        Progress::Hold
    }
}

fn decide(
    config: &Config,
    finding: &Finding,
    read_bytes: usize,
    client: Option<&Client>,
) -> Progress {
    let allowed = client.and_then(|client| client.models.as_ref());
    match config.catalogue.admit(finding, allowed) {
        Ok(()) => Progress::Admit(read_bytes),
        Err(reply) => Progress::Refuse(reply),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(max_body_bytes: u64) -> Config {
        let json = format!(r#"{{"auth": "none", "max_body_bytes": {max_body_bytes}}}"#);
        Config::load(json.as_bytes(), &Default::default(), std::time::UNIX_EPOCH).unwrap()
    }

    /// Envoy's side: pieces arrive, held ones are shown again, and the body ends.
    fn run(config: &Config, pieces: &[&[u8]]) -> (Vec<u8>, Option<u16>) {
        let (mut body, mut held, mut upstream) = (Body::gated(None), Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            match body.on_data(config, held.len(), reader(&held)) {
                Progress::Hold => {}
                Progress::Flow | Progress::Admit(_) => upstream.append(&mut held),
                Progress::Refuse(reply) => return (upstream, Some(reply.status)),
            }
        }
        match body.on_end(config, reader(&held)) {
            Progress::Refuse(reply) => (upstream, Some(reply.status)),
            _ => ([upstream, held].concat(), None),
        }
    }

    fn reader(held: &[u8]) -> impl Fn(usize, usize) -> Option<Vec<u8>> {
        |start, length| held.get(start..start + length).map(<[u8]>::to_vec)
    }

    #[test]
    fn nothing_passes_before_the_model_is_known() {
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
            let (upstream, refused) = run(&config, pieces);
            assert_eq!(refused, status, "{pieces:?}");
            if refused.is_none() {
                assert_eq!(upstream, pieces.concat());
            } else if refused != Some(413) {
                assert_eq!(upstream, b"");
            }
        }
    }

    #[test]
    fn a_host_that_withholds_a_piece_is_not_believed() {
        let config = config(60);
        for answer in [None, Some(Vec::new())] {
            let progress = Body::gated(None).on_data(&config, 5, |_, _| answer.clone());
            assert_eq!(progress, Progress::Refuse(LocalReply::host_failure()));
        }
    }

    #[test]
    fn a_long_body_is_read_in_pieces() {
        let config = config(1 << 20);
        let body = [b"{\"a\":\"", &[b'a'; 200_000][..], b"\"}"].concat();
        let reads = std::cell::RefCell::new(Vec::new());
        let read = |start: usize, length: usize| {
            reads.borrow_mut().push(length);
            Some(body[start..start + length].to_vec())
        };
        let mut gated = Body::gated(None);
        for held in (16_000..body.len()).step_by(16_000).chain([body.len()]) {
            assert_eq!(gated.on_data(&config, held, read), Progress::Hold);
        }
        assert_eq!(gated.on_end(&config, read), Progress::Admit(body.len()));
        // The first piece; what is there with the fifth after it, and with the fifth after that; the end.
        let expected = [16_000, 65_536, 14_464, 65_536, 14_464, 24_008];
        assert_eq!(*reads.borrow(), expected);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cuts in prop::collection::vec(0_usize..60, 0..8), first in any::<bool>(), known in any::<bool>()) {
            let model = if known { "\"model\":\"Codex-5-low\"" } else { "\"model\":\"gpt-0\"" };
            let rest = r#""messages":[{"role":"user"}]"#;
            let text = if first { format!("{{{model},{rest}}}") } else { format!("{{{rest},{model}}}") };
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
            let (upstream, refused) = run(&config(1000), &pieces);
            prop_assert_eq!(refused, (!known).then_some(404));
            prop_assert_eq!(upstream.len(), if known { text.len() } else { 0 });
        }
    }
}
