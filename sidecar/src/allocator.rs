//! The settings of glibc's malloc, so that the memory of large requests goes back to the system when it is freed.
//! mallopt(3) and malloc_trim(3). mimalloc and jemalloc would compile C for every target, and give memory back only after a
//! while.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::turn::MemoryBudget;

/// Size in bytes from which on an allocation has a mapping of its own, which is unmapped when it is freed. glibc's own
/// default, which it raises to 32 MiB after the first large body unless it is set.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: i32 = 128 << 10;

/// Number of arenas. By default each thread has one, up to eight for each core, and keeps what was freed in it.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// Memory of bodies, in bytes, after which the free pages are given back, and below which requests hold little. Small requests
/// reuse what the arenas have.
const LARGE_BYTES: usize = 4 << 20;

/// Time between two looks whether the requests with large bodies have ended.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// Applies the settings; without effect with another C library than glibc. Called before the first thread starts.
pub fn configure() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD),
        (libc::M_ARENA_MAX, ARENAS),
    ] {
        #[expect(unsafe_code, reason = "it sets a number, and no other thread runs yet")]
        // Fails for an unknown parameter only, which leaves the default.
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}

/// Gives the memory of large conversations back to the system once their requests have ended, until `stop` fires. The many
/// small strings of a conversation are in the arenas, of which glibc gives back the end by itself, and only if it is free.
pub async fn trim_when_idle(memory: MemoryBudget, stop: CancellationToken) {
    let mut peak = 0;
    while stop
        .run_until_cancelled(sleep(TRIM_INTERVAL))
        .await
        .is_some()
    {
        peak = peak.max(memory.take_peak());
        if peak >= LARGE_BYTES && memory.held_bytes() < LARGE_BYTES {
            peak = 0;
            // Takes the locks of the arenas for about a millisecond. A panic is not possible.
            let _ = spawn_blocking(trim).await;
        }
    }
}

fn trim() {
    #[cfg(target_env = "gnu")]
    #[expect(
        unsafe_code,
        reason = "it returns free pages to the system, and changes no allocation"
    )]
    unsafe {
        libc::malloc_trim(0);
    }
}
