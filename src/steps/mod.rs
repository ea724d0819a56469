//! steps/mod
