//! Permission to change a machine.

/// Permission to change a machine; only the engine makes one, only when applying.
pub struct Hands(());

impl Hands {
    /// For the engine.
    pub(super) fn new() -> Self {
        Self(())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Hands for tests of what steps do with them.

    /// Permission, without an engine.
    pub(crate) fn hands() -> super::Hands {
        super::Hands(())
    }
}
