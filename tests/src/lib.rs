//! See ARCHITECTURE.md.
#![forbid(unsafe_code)]

pub mod fuzz;
pub mod lab;
pub mod model;
pub mod sim;
