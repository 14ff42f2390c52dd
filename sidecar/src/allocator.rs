//! The settings of glibc's malloc, so that the memory of large requests goes back to the system when it is freed.
//! mallopt(3). mimalloc and jemalloc would compile C for every target, and give memory back only after a while.

/// Size in bytes from which on an allocation has a mapping of its own, which is unmapped when it is freed. glibc's own
/// default, which it raises to 32 MiB after the first large body unless it is set.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: i32 = 128 << 10;

/// Number of arenas. By default each thread has one, up to eight for each core, and keeps what was freed in it.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

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
