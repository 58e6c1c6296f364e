//! See ARCHITECTURE.md.
#![forbid(unsafe_code)]

pub mod sim;
