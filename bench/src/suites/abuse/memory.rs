//! Resident memory of Envoy, the sidecar and its children: now, and at its peak during an attack.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::suites::stack::Stack;
use crate::usage::resident_kib;

/// Time between two samples: short beside the time that a body of 16 MiB takes.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

/// Resident memory in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) envoy: f64,
    pub(super) sidecar: f64,
    /// Sum over the children.
    pub(super) children: f64,
}

/// The processes under measurement.
#[derive(Debug, Clone)]
pub(super) struct Processes {
    envoy: i32,
    sidecar: i32,
    children: Vec<i32>,
}

impl Processes {
    pub(super) fn of(stack: &Stack) -> Self {
        Self {
            envoy: stack.envoy.pid(),
            sidecar: stack.sidecar.pid(),
            children: stack.sidecar.children(),
        }
    }

    pub(super) fn memory(&self) -> Memory {
        let mib = |pid: i32| resident_kib(pid) / 1024.0;
        Memory {
            envoy: mib(self.envoy),
            sidecar: mib(self.sidecar),
            children: self.children.iter().copied().map(mib).sum(),
        }
    }
}

/// Samples memory until it is asked for the peak.
#[derive(Debug)]
pub(super) struct PeakSampler {
    peak: Arc<Mutex<Memory>>,
    /// Dropped, and so aborted, with the sampler.
    _task: JoinSet<()>,
}

impl PeakSampler {
    pub(super) fn start(processes: Processes) -> Self {
        let peak = Arc::new(Mutex::new(Memory::default()));
        let highest = Arc::clone(&peak);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                raise(&highest, processes.memory());
                sleep(SAMPLE_INTERVAL).await;
            }
        });
        Self { peak, _task: task }
    }

    pub(super) fn peak(self) -> Memory {
        *self.peak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn raise(highest: &Mutex<Memory>, now: Memory) {
    let mut highest = highest.lock().unwrap_or_else(PoisonError::into_inner);
    *highest = Memory {
        envoy: highest.envoy.max(now.envoy),
        sidecar: highest.sidecar.max(now.sidecar),
        children: highest.children.max(now.children),
    };
}
