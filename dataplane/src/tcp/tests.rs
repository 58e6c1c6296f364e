//! Codecs and tables by themselves; RFC 9293's MUSTs (`must`); two endpoints over a bad network, with takeovers (`world`).

mod attack;
mod cells;
mod conformance;
mod cookies;
mod keepalive;
mod must;
mod pair;
mod plan;
mod ranges;
mod records;
mod recovery;
mod segments;
mod side;
mod sim;
mod states;
mod streams;
mod world;
