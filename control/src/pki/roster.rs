//! The members that were accepted, with their public keys: what the envelope's opener asks.

use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};

use super::admission::{Admission, AdmissionError, CertificateCache, PeerIdentity};
use super::secret::PublicKey;
use super::time::WallTime;
use crate::envelope::{KeyRefusal, PublicKeys};

/// One member's place.
#[derive(Clone, Debug, Default)]
enum Seat {
    #[default]
    Empty,
    Admitted {
        peer: PeerIdentity,
        der: Vec<u8>,
    },
    Revoked,
}

/// Who is admitted, by member number. Belongs to the cluster thread.
#[derive(Clone, Debug)]
pub struct Roster {
    admission: Admission,
    cache: CertificateCache,
    seats: Vec<Seat>,
}

impl Roster {
    /// A roster without members.
    pub fn new(admission: Admission) -> Self {
        let seats = (0..MEMBER_NUMBER_MAX).map(|_| Seat::Empty).collect();
        Self { admission, cache: CertificateCache::new(), seats }
    }

    /// Judges a certificate and, if it is accepted, seats its member: from now on its datagrams are opened.
    pub fn admit(&mut self, der: &[u8], now: WallTime) -> Result<PeerIdentity, AdmissionError> {
        let peer = self.cache.check(&self.admission, der, now)?;
        if let Some(seat) = self.seats.get_mut(peer.member.index()) {
            *seat = Seat::Admitted { peer: peer.clone(), der: der.to_vec() };
        }
        Ok(peer)
    }

    /// Unseats a member.
    pub fn remove(&mut self, member: MemberId) {
        if let Some(seat) = self.seats.get_mut(member.index()) {
            *seat = Seat::Empty;
        }
    }

    /// Puts new rules in force at once; returns the members that they no longer accept.
    pub fn set_admission(&mut self, admission: Admission, now: WallTime) -> Vec<PeerIdentity> {
        self.admission = admission;
        let mut out = Vec::new();
        for seat in &mut self.seats {
            let Seat::Admitted { peer, der } = seat else { continue };
            if self.cache.check(&self.admission, der, now).is_err() {
                out.push(peer.clone());
                *seat = Seat::Revoked;
            }
        }
        out
    }

    /// The rules in force.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The member with this number, if it is admitted.
    pub fn peer(&self, member: MemberId) -> Option<&PeerIdentity> {
        match self.seats.get(member.index()) {
            Some(Seat::Admitted { peer, .. }) => Some(peer),
            _ => None,
        }
    }

    /// All admitted members, in order of their numbers.
    pub fn peers(&self) -> impl Iterator<Item = &PeerIdentity> {
        self.seats.iter().filter_map(|seat| match seat {
            Seat::Admitted { peer, .. } => Some(peer),
            _ => None,
        })
    }
}

impl PublicKeys for Roster {
    fn public_key(&self, member: MemberId) -> Result<PublicKey, KeyRefusal> {
        match self.seats.get(member.index()) {
            Some(Seat::Admitted { peer, .. }) => Ok(peer.public_key),
            Some(Seat::Revoked) => Err(KeyRefusal::Revoked),
            _ => Err(KeyRefusal::Unknown),
        }
    }
}
