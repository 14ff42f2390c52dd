//! The closures under measurement.

/// A closure that owns everything that its calls need.
pub(crate) type Work = Box<dyn FnMut()>;

/// Calls `work` and returns it, so that the drop is not measured.
///
/// Every benchmark uses this function twice: as its setup, which is not measured, and as its body. The unmeasured call
/// pays for the growth of buffers, for caches, and for the detection of processor features.
pub(crate) fn call(mut work: Work) -> Work {
    work();
    work
}
