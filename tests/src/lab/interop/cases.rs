//! What is tried with a guest's kernel: seven settings, in all combinations or in as few as hold every pair of values.

use std::fmt;

/// Which end of a relay the guest is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It opens connections to the cluster.
    Client,
    /// The cluster opens connections to it.
    Server,
}

/// Whose receive buffer is small, so that windows shut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// Nobody's.
    Large,
    /// The guest's, and its send buffer.
    Guest,
    /// The relay's, in both directions.
    Relay,
}

/// What the guest's network does to packets, as `netem` is told: what leaves the guest, and what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// For the table.
    pub name: &'static str,
    /// To packets that leave; empty: nothing.
    pub out: &'static str,
    /// To packets that come.
    pub inn: &'static str,
}

/// All faults. Corruption is for what leaves only: what comes has been accepted by the guest's interface, which does not
/// look at checksums a second time.
pub(super) const FAULTS: [Fault; 7] = [
    Fault { name: "none", out: "", inn: "" },
    Fault { name: "loss", out: "loss 3%", inn: "loss 3%" },
    Fault { name: "reordering", out: "delay 4ms reorder 30% 50%", inn: "delay 4ms reorder 30% 50%" },
    Fault { name: "duplication", out: "duplicate 20%", inn: "duplicate 20%" },
    Fault { name: "delay", out: "delay 20ms 8ms", inn: "delay 20ms 8ms" },
    Fault { name: "corruption", out: "corrupt 3%", inn: "" },
    Fault {
        name: "all",
        out: "delay 5ms 2ms loss 1% duplicate 2% corrupt 1% reorder 10%",
        inn: "delay 5ms 2ms loss 1% duplicate 2% reorder 10%",
    },
];

const SETTINGS: usize = 7;
/// How many values each setting has, in the order of [`Case::of`].
const VALUES: [usize; SETTINGS] = [2, 2, 2, 2, 2, 3, FAULTS.len()];

/// One combination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// Which end the guest is.
    pub role: Role,
    /// IPv6, not IPv4.
    pub v6: bool,
    /// `tcp_window_scaling`.
    pub scaling: bool,
    /// `tcp_timestamps`.
    pub timestamps: bool,
    /// `tcp_sack`.
    pub sack: bool,
    /// Who has little room.
    pub window: Window,
    /// What happens to packets.
    pub fault: Fault,
}

impl Case {
    fn of(values: [usize; SETTINGS]) -> Self {
        let [role, v6, scaling, timestamps, sack, window, fault] = values;
        Self {
            role: [Role::Client, Role::Server][role],
            v6: v6 == 1,
            scaling: scaling == 0,
            timestamps: timestamps == 0,
            sack: sack == 0,
            window: [Window::Large, Window::Guest, Window::Relay][window],
            fault: FAULTS[fault],
        }
    }

    /// Bytes of a transfer: what a small window lets through takes its time.
    pub fn bytes(&self) -> u64 {
        if self.window == Window::Large { 1_000_000 } else { 100_000 }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |on| if on { "+" } else { "-" };
        write!(
            f,
            "{} IPv{} {}scaling {}timestamps {}sack, {} window, {}",
            if self.role == Role::Client { "client" } else { "server" },
            if self.v6 { 6 } else { 4 },
            flag(self.scaling),
            flag(self.timestamps),
            flag(self.sack),
            match self.window {
                Window::Large => "large",
                Window::Guest => "guest's small",
                Window::Relay => "relay's small",
            },
            self.fault.name
        )
    }
}

/// Every combination.
pub fn all() -> Vec<Case> {
    combinations().map(Case::of).collect()
}

/// Few combinations, in which any two values of two settings stand together: first, with large windows, a modern client and
/// an old server under every fault; then each next one is that which has most of the pairs that are still missing.
pub fn pairwise() -> Vec<Case> {
    let mut missing: Vec<Pair> = combinations().flat_map(pairs).collect();
    missing.sort_unstable();
    missing.dedup();
    let ordinary = (0..FAULTS.len()).flat_map(|fault| [[0, 0, 0, 0, 0, 0, fault], [1, 1, 1, 1, 1, 0, fault]]);
    let mut chosen = Vec::new();
    for values in ordinary {
        missing.retain(|pair| !pairs(values).any(|had| had == *pair));
        chosen.push(Case::of(values));
    }
    while !missing.is_empty() {
        let gain = |values: &[usize; SETTINGS]| pairs(*values).filter(|pair| missing.contains(pair)).count();
        let Some(best) = combinations().max_by_key(gain) else { break };
        missing.retain(|pair| !pairs(best).any(|had| had == *pair));
        chosen.push(Case::of(best));
    }
    chosen
}

/// A setting and its value, and another one's.
type Pair = (usize, usize, usize, usize);

fn pairs(values: [usize; SETTINGS]) -> impl Iterator<Item = Pair> {
    (0..SETTINGS).flat_map(move |a| (a + 1..SETTINGS).map(move |b| (a, values[a], b, values[b])))
}

fn combinations() -> impl Iterator<Item = [usize; SETTINGS]> {
    (0..VALUES.iter().product::<usize>()).map(|mut number| {
        VALUES.map(|count| {
            let value = number % count;
            number /= count;
            value
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cases_hold_every_pair() {
        let (all, few) = (all(), pairwise());
        assert_eq!(all.len(), 2 * 2 * 2 * 2 * 2 * 3 * FAULTS.len());
        assert!(few.len() >= 3 * FAULTS.len() && few.len() < 40, "{}", few.len());
        for fault in FAULTS {
            for window in [Window::Large, Window::Guest, Window::Relay] {
                assert!(few.iter().any(|case| case.fault == fault && case.window == window), "{fault:?} {window:?}");
            }
            for of in [|case: &Case| case.sack, |case: &Case| case.timestamps, |case: &Case| case.scaling] {
                let of_fault = || few.iter().filter(|case| case.fault == fault);
                assert!(of_fault().any(of) && !of_fault().all(of), "{fault:?}");
            }
        }
        for (scaling, sack) in [(true, true), (true, false), (false, true), (false, false)] {
            assert!(few.iter().any(|case| case.scaling == scaling && case.sack == sack));
        }
    }
}
