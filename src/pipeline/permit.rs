//! Permission to change a machine.

/// Permission to change a machine; only the engine makes one, only when applying.
pub struct WritePermit(());

impl WritePermit {
    /// For the engine.
    pub(super) fn new() -> Self {
        Self(())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A permit for tests of what steps do with them.

    /// Permission, without an engine.
    pub(crate) fn permit() -> super::WritePermit {
        super::WritePermit(())
    }
}
