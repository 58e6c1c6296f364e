//! Real links over the loopback, and simulated ones under an adversarial schedule.

mod live;
mod protocol;
mod sim;
mod support;
