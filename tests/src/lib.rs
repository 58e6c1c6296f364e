//! See ARCHITECTURE.md.

pub mod fuzz;
pub mod lab;
pub mod model;
pub mod sim;
