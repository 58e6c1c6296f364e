//! Our IKEv2 and ESP with strongSwan's. Each case is a line of a table: who the peer is and where it stands, what it proposes, what is
//! done while pings pass, and what is to come of it. Of what strongSwan says of its SAs, of what the cluster logs and of both sides'
//! counters, nothing may contradict the case. What became of all is the table in README.
//!
//! ```text
//!   client   a namespace: charon does ESP itself, always inside UDP ──┐
//!   far      one behind `client`, which translates its addresses ─────┼── outside ── the cluster ── inside ── server
//!   guest    with a kernel of its own, which does ESP, plain ─────────┘
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `cases` | what is tried |
//! | `words` | the algorithms' names at both sides |
//! | `cluster` | what the members are told |
//! | `stage` | a lab with its peers; one case from its beginning to its end |
//! | `course` | what is done while the tunnel is up |
//! | `begun` | the same, where the cluster begins |
//! | `table` | what became of all |

mod begun;
mod cases;
mod cluster;
mod course;
mod stage;
mod table;
mod words;

pub use begun::play_begun;
pub use cases::{Case, Course, End, Peer, all, begun, some};
pub use stage::{Row, Stage};
pub use table::{judge, write_table};
