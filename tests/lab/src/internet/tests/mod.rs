//! The box as its clients see it, on loopback.

mod box_under_test;
mod downloads;
mod faults;
mod names;
mod registry;
mod scripts;
