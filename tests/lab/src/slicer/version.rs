//! What the stand-in says of itself.

/// The version that the API tells.
pub(crate) const NUMBER: &str = "0.1.227-lab";
/// The commit that the API tells.
pub(crate) const COMMIT: &str = "stand-in";
/// Version and commit in one word, as the first line of `slicer up` has it.
pub(crate) const LONG: &str = "0.1.227-lab-stand-in";
/// What no user may miss.
pub(crate) const NOTICE: &str = "This is a test fixture that stands in for Slicer in slicer-k3s's lab; it is not Slicer and runs no microVMs.";
