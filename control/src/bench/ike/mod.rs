//! What IKE costs the member that answers: CPU time of a handshake, memory of a tunnel.
//!
//! The member is real but for its wire: a worker's gateway, its desk, the session thread's speaker, and, for memory, a backup's
//! store behind the real log. Everything runs on this thread, one step after the other, so the thread's CPU time between a message
//! and its answer is what the member spent on it. The peers are an initiator that is written here, and whose time does not count.
//!
//! ```text
//!   initiator ── UDP packet ──▶ gateway ── question ──▶ speaker
//!   initiator ◀── UDP packet ── gateway ◀── answer ──── speaker
//!                                  └── log ──▶ a backup's store
//! ```
//!
//! Files: `credentials` (keys, certificates, users), `settings` (what both sides go by), `initiator` (the peers), `member`, `desk` (what
//! a worker is to the gateway), `handshakes`, `memory` (what is measured).

mod credentials;
mod desk;
mod handshakes;
mod initiator;
mod member;
mod memory;
mod settings;

pub(crate) use handshakes::measure_handshakes;
pub(crate) use memory::measure_memory;
pub(crate) use settings::Way;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IkeBenchError {
    /// Keys and certificates could not be made.
    #[error("keys and certificates for the benchmark: {0}")]
    Credentials(String),
    /// The member did not do what it should.
    #[error("the member {0}: these figures are worth nothing")]
    Odd(String),
    /// The system did not.
    #[error("the system: {0}")]
    System(#[from] std::io::Error),
}

/// That the member did not do what it should.
fn odd(what: impl Into<String>) -> IkeBenchError {
    IkeBenchError::Odd(what.into())
}

#[cfg(test)]
mod tests {
    use super::credentials::Credentials;
    use super::initiator::Initiator;
    use super::member::Member;
    use super::*;

    /// Peers, one after the other; each checks that the member proves its name and grants a child SA.
    fn shake_hands(way: Way, has_backup: bool, peers: u32) -> Member {
        let credentials = Credentials::new().unwrap();
        let mut member = Member::new(&settings::config(way, &credentials).unwrap(), has_backup).unwrap();
        let mut initiator = Initiator::new(way, &credentials).unwrap();
        for number in 0..peers {
            assert!(!initiator.shake_hands(&mut member, number).unwrap().is_zero(), "{way:?}: it cost no time");
        }
        member
    }

    #[test]
    fn every_way_leads_to_a_tunnel() {
        for way in Way::ALL {
            shake_hands(way, false, 2);
        }
    }

    #[test]
    fn a_backup_holds_ike_sas_and_tunnels() {
        let member = shake_hands(Way::Psk, true, 5);
        assert_eq!(member.held(), 2 * 5);
    }
}
