//! Opening what comes, whole or in pieces; sealing what goes.

use super::Turn;
use super::limits::{PIECED_MAX, PIECES_MAX};
use crate::crypto::{open, seal, sealed_len};
use crate::state::{IkeSa, Pieces};
use crate::wire::{self, Body, FragmentOf, Header, Payload};

/// A message of ours that would be longer goes in pieces, if the peer can put them together: what every path carries.
const WHOLE_MAX: usize = 1200;

/// What an opened message is.
pub(super) enum Opened {
    /// Its payloads.
    Payloads(Vec<Payload>),
    /// It is the peer's, but makes no sense.
    Nonsense,
    /// A piece: others are missing.
    Piece,
    /// Nobody can say who sent it.
    Unauthentic,
}

impl Turn<'_, '_> {
    /// Opens the body of a message from the peer.
    pub(super) fn open(&mut self, sa: &mut IkeSa, body: &Body<'_>) -> Opened {
        let (encryption, integrity) = sa.peer_keys();
        match body {
            Body::Plain(_) => Opened::Unauthentic,
            Body::Sealed(sealed) => match open(sa.suite, encryption, integrity, sealed.associated, sealed.sealed) {
                Ok(plain) => {
                    sa.pieces = Pieces::default();
                    read(sealed.first, &plain)
                }
                Err(_) => Opened::Unauthentic,
            },
            Body::Fragment(piece) => match open(sa.suite, encryption, integrity, piece.associated, piece.sealed) {
                Ok(plain) => self.collect(sa, piece, &plain),
                Err(_) => Opened::Unauthentic,
            },
        }
    }

    /// Puts a piece to the others.
    fn collect(&mut self, sa: &mut IkeSa, piece: &FragmentOf<'_>, plain: &[u8]) -> Opened {
        if piece.total > PIECES_MAX {
            return Opened::Nonsense;
        }
        let total = usize::from(piece.total);
        // Cut into more pieces than before, it was sent anew for a narrower path (RFC 7383 section 2.6.1).
        if sa.pieces.parts.len() < total {
            sa.pieces = Pieces { first: 0, parts: vec![None; total] };
        }
        if sa.pieces.parts.len() > total {
            return Opened::Piece;
        }
        if piece.number == 1 {
            sa.pieces.first = piece.first;
        }
        if let Some(place) = sa.pieces.parts.get_mut(usize::from(piece.number).wrapping_sub(1)) {
            *place = Some(plain.to_vec());
        }
        if sa.pieces.parts.iter().flatten().map(Vec::len).sum::<usize>() > PIECED_MAX {
            sa.pieces = Pieces::default();
            return Opened::Nonsense;
        }
        let Some(parts) = sa.pieces.parts.iter().map(Option::as_deref).collect::<Option<Vec<_>>>() else {
            return Opened::Piece;
        };
        let whole = parts.concat();
        let first = std::mem::take(&mut sa.pieces).first;
        read(first, &whole)
    }

    /// Seals a message: one datagram, or several.
    pub(super) fn seal(&mut self, sa: &IkeSa, header: &Header, payloads: &[Payload]) -> Vec<Vec<u8>> {
        let (first, inside) = wire::emit_payloads(payloads);
        let len = sealed_len(sa.suite, inside.len());
        let head = wire::emit_sealed_head(header, first, len);
        if head.len() + len <= WHOLE_MAX || !sa.abilities.fragmentation {
            return vec![self.sealed(sa, head, &inside)];
        }
        let room = WHOLE_MAX.saturating_sub(head.len() + sealed_len(sa.suite, 0) + 32).max(64);
        let pieces: Vec<&[u8]> = inside.chunks(room).collect();
        let total = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
        let pieces = pieces.into_iter().zip(1_u16..);
        pieces
            .map(|(piece, number)| {
                let first = if number == 1 { first } else { 0 };
                let len = sealed_len(sa.suite, piece.len());
                self.sealed(sa, wire::emit_fragment_head(header, first, number, total, len), piece)
            })
            .collect()
    }

    fn sealed(&mut self, sa: &IkeSa, mut head: Vec<u8>, inside: &[u8]) -> Vec<u8> {
        let (encryption, integrity) = sa.own_keys();
        let iv = (self.given.draw.wrapping_add(self.drawn)).to_be_bytes();
        self.drawn += 1;
        debug_assert!(self.drawn <= super::DRAWS, "more IVs than were drawn");
        let sealed = seal(sa.suite, encryption, integrity, &head, inside, iv, self.given.random);
        head.extend_from_slice(&sealed);
        head
    }
}

fn read(first: u8, plain: &[u8]) -> Opened {
    wire::payloads(first, plain).map_or(Opened::Nonsense, Opened::Payloads)
}
