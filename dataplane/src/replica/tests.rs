//! Each part by itself; together, and over a network, they are tested where the transport is (the control crate).

mod lease;
mod outbox;
mod port;
mod record;
mod snapshot;
mod store;
mod support;
