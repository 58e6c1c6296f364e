//! The promises of the engine: exactly once and in order, over the exchanges that the cluster core makes.

mod death;
mod holding;
mod planned_move;
mod support;
