//! The plan of a run: the faults, their order and the pauses between them, decided by the seed alone.
//! The frequencies are our choice; the last sidecar must run long enough for a leak to show.

use std::time::Duration;

use fastrand::Rng;

/// Longest pause before a fault, in milliseconds. A sidecar needs about a second to get ready, so that some faults hit
/// sidecars that are starting.
const MAX_PAUSE_MS: u64 = 700;

/// Longest freeze of a worker, in milliseconds: longer than a turn may be idle.
const MAX_FREEZE_MS: u64 = 6000;

/// A fault, and the pause before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// The pause before the fault.
    pub(super) pause: Duration,
    pub(super) kind: FaultKind,
}

/// The target and the kind of a fault. An index is taken modulo the number of running targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// SIGKILL to the sidecar, which is restarted at once.
    KillSidecar,
    /// SIGTERM to the sidecar, which is restarted after its exit.
    StopSidecar,
    /// SIGKILL to a worker.
    KillWorker(usize),
    /// SIGSTOP to a worker, and SIGKILL after this time.
    FreezeWorker(usize, Duration),
    /// A disconnect of a client, at any stage of its request.
    DisconnectClient(usize),
}

impl FaultKind {
    /// The fault's row in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillSidecar => "sidecar SIGKILL",
            Self::StopSidecar => "sidecar SIGTERM",
            Self::KillWorker(_) => "worker SIGKILL",
            Self::FreezeWorker(..) => "worker SIGSTOP, later SIGKILL",
            Self::DisconnectClient(_) => "client disconnects",
        }
    }
}

/// The plan of `kills` faults for a sidecar with `clients` clients. The last third does not hit the sidecar.
pub(super) fn plan(kills: usize, clients: usize, seed: u64) -> Vec<Fault> {
    let mut rng = Rng::with_seed(seed);
    let last_third = kills - kills / 3;
    let fault = |index| Fault {
        pause: Duration::from_millis(rng.u64(..MAX_PAUSE_MS)),
        kind: kind(&mut rng, index < last_third, clients),
    };
    (0..kills).map(fault).collect()
}

/// A random fault. Worker faults are rare in the last third: each restart of a worker takes longer than the previous one,
/// until its sidecar is replaced.
fn kind(rng: &mut Rng, sidecar_too: bool, clients: usize) -> FaultKind {
    let freeze = Duration::from_millis(rng.u64(..MAX_FREEZE_MS));
    let (worker, client) = (rng.usize(..), rng.usize(..clients));
    let shares = if sidecar_too {
        [9, 16, 30, 40]
    } else {
        [0, 0, 6, 10]
    };
    match rng.usize(..100) {
        share if share < shares[0] => FaultKind::KillSidecar,
        share if share < shares[1] => FaultKind::StopSidecar,
        share if share < shares[2] => FaultKind::KillWorker(worker),
        share if share < shares[3] => FaultKind::FreezeWorker(worker, freeze),
        _ => FaultKind::DisconnectClient(client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_depends_on_the_seed_alone() {
        assert_eq!(plan(200, 8, 1), plan(200, 8, 1));
        assert_ne!(plan(200, 8, 1), plan(200, 8, 2));
    }

    #[test]
    fn plan_has_every_kind_of_fault_and_its_last_third_spares_the_sidecar() {
        let faults = plan(200, 8, 1);
        let names = |faults: &[Fault]| {
            let names = faults.iter().map(|fault| fault.kind.name());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(&faults).len(), 5);
        assert_eq!(names(&faults[134..]).len(), 3);
    }
}
