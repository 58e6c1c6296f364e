//! Our TCP with Linux's as its peer. A guest with a kernel of its own is the client of a relay, or its back end; its TCP is
//! set one way or the other, and its network made bad in both directions. Bytes go up, down, and both ways at once, each
//! checked at its far end, and the guest's kernel says what it had to send again.
//!
//! | file | what |
//! | --- | --- |
//! | `cases` | what is tried, in which combinations |
//! | `kernel` | a guest's settings, its network's faults, its counters |
//! | `run` | a lab with two guests; one case; the table of what became of all |

mod cases;
mod kernel;
mod run;

pub use cases::{Case, all, pairwise};
pub use run::{Row, Stage, judge, write_table};
