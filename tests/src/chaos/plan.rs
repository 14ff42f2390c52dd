//! What is killed, in which order, after which pause: decided by the seed alone.
//! The shares are ours; the survivor of the last sidecar must live long enough for a leak to show in it.

use std::time::Duration;

use fastrand::Rng;

/// Longest pause before a blow, in milliseconds. A sidecar needs about a second to get ready, so that some are
/// struck while they start.
const MAX_PAUSE_MS: u64 = 700;

/// Longest time that a frozen worker stays so, in milliseconds: longer than the silence that a turn is allowed.
const MAX_FREEZE_MS: u64 = 6000;

/// One death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blow {
    /// The time before it.
    pub(super) pause: Duration,
    pub(super) kind: Kind,
}

/// Who dies how. An index that is too large for those who live counts round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// SIGKILL to the sidecar, which is started again at once.
    KillSidecar,
    /// SIGTERM to the sidecar, which is started again when it has ended.
    StopSidecar,
    /// SIGKILL to a worker.
    KillWorker(usize),
    /// SIGSTOP to a worker, and SIGKILL after this time.
    FreezeWorker(usize, Duration),
    /// A client leaves, wherever it is.
    DropClient(usize),
}

impl Kind {
    /// Its row in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillSidecar => "sidecar SIGKILL",
            Self::StopSidecar => "sidecar SIGTERM",
            Self::KillWorker(_) => "worker SIGKILL",
            Self::FreezeWorker(..) => "worker SIGSTOP, later SIGKILL",
            Self::DropClient(_) => "client leaves",
        }
    }
}

/// A storm of so many blows on a sidecar with so many clients. Its last third spares the sidecar.
pub(super) fn plan(kills: usize, clients: usize, seed: u64) -> Vec<Blow> {
    let mut rng = Rng::with_seed(seed);
    let spared_from = kills - kills / 3;
    let blow = |index| Blow {
        pause: Duration::from_millis(rng.u64(..MAX_PAUSE_MS)),
        kind: kind(&mut rng, index < spared_from, clients),
    };
    (0..kills).map(blow).collect()
}

/// A worker that is killed again and again comes back later each time, until its sidecar is a new one.
fn kind(rng: &mut Rng, sidecar_too: bool, clients: usize) -> Kind {
    let freeze = Duration::from_millis(rng.u64(..MAX_FREEZE_MS));
    let (worker, client) = (rng.usize(..), rng.usize(..clients));
    let shares = if sidecar_too {
        [9, 16, 30, 40]
    } else {
        [0, 0, 6, 10]
    };
    match rng.usize(..100) {
        share if share < shares[0] => Kind::KillSidecar,
        share if share < shares[1] => Kind::StopSidecar,
        share if share < shares[2] => Kind::KillWorker(worker),
        share if share < shares[3] => Kind::FreezeWorker(worker, freeze),
        _ => Kind::DropClient(client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_storm() {
        assert_eq!(plan(200, 8, 1), plan(200, 8, 1));
        assert_ne!(plan(200, 8, 1), plan(200, 8, 2));
    }

    #[test]
    fn a_storm_has_every_kind_and_spares_the_last_sidecar() {
        let blows = plan(200, 8, 1);
        let names = |blows: &[Blow]| {
            let names = blows.iter().map(|blow| blow.kind.name());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(&blows).len(), 5);
        assert_eq!(names(&blows[134..]).len(), 3);
    }
}
