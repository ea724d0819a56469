//! cluster.toml: strict, small; every error at once with line and column.
