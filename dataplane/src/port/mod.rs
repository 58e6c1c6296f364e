//! Data ports: what they are to be ([`PortSpec`]) and opening them ([`open`]).

mod open;
mod spec;

pub use open::{OpenError, OpenPort, open};
pub use spec::{Delivery, Interface, PORTS_MAX, PortIndex, PortSpec, Role, RouteSpec};
