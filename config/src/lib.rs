//! The configuration of a member: one TOML file, read once, refused whole if anything in it is wrong.
//!
//! [`Config::from_str`] and [`Config::load`] give either a [`Config`] whose values are all valid, or *every* problem
//! of the file as `file:line:column: what is wrong; what to do`. [`Config::digest`] is what members compare at the
//! join; [`reload_diff`] says what of a changed file can be taken over by a running member. The annotated examples in
//! `config/examples` are the operator's documentation; tests hold them to the code.
//!
//! The map: `problem` (messages and places) ← `read` (one table, key by key) ← `parse` (sections, then all together)
//! → `schema` (the sound values). `defaults` has every default and bound with its reason.

pub mod defaults;
mod digest;
mod mac;
mod parse;
mod problem;
mod read;
mod reload;
mod schema;
mod secret;
mod suggest;
mod traffic;

pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use mac::{MacAddr, NotAMacAddr};
pub use parse::Machine;
pub use problem::{ConfigErrors, Kind, Problem};
pub use reload::{LiveChanges, Refusal, reload_diff};
pub use schema::{
    AddressPool, ChildMode, Cluster, ClusterThread, Config, DeliveryMode, DontFragment, Eal, HealthCheck, Idle,
    IkeChild, IkeConnection, IpsecEngine, IpsecProtocol, Level, Limits, Link, Log, LogFormat, Management, Member,
    OuterHeader, OwnProof, PeersProof, Port, Quorum, Relay, Replicas, Role, Route, Scheme, Start, StaticSa, Timing,
    TrafficRule, Unique, Workers,
};
pub use secret::{NotHex, Secret};
pub use traffic::{NoTraffic, TrafficNet};
