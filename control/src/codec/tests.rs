//! Every message survives the wire; no bytes do harm; the largest messages fit a datagram.

use proptest::prelude::*;

use super::*;
use crate::cluster::{Contact, Owner, Reign, Version};

/// What a sealed datagram can carry, less the receiver's number.
const BODY_BYTES_MAX: usize = crate::envelope::BODY_MAX - 1;

fn member(number: u8) -> MemberId {
    MemberId::new(number).unwrap()
}

fn contact() -> Contact {
    Contact { address: "[fd00:9::1]:7400".parse().unwrap(), macs: vec![[2, 0, 0, 0, 0, 1]; PORTS_MAX] }
}

/// One of each message, as large as it gets.
fn largest() -> Vec<Message> {
    let reign = Reign { term: u64::MAX, master: member(32) };
    let version = Version { term: 7, generation: 9 };
    let everyone: Vec<MemberId> = (1..=MEMBER_NUMBER_MAX).map(member).collect();
    let hears: Vec<_> = everyone.iter().map(|id| (*id, 0xff)).collect();
    let units: Vec<Unit> = Unit::all().take(MOVE_UNITS_MAX).collect();
    let entry = Entry { owner: Owner::Member(member(3)), backup: Some(member(4)) };
    let mut messages = vec![
        Message::Beacon(Beacon { kind: BeaconKind::Offer, term: 5, contact: contact() }),
        Message::MasterKeepalive(MasterKeepalive {
            reign,
            seq: 3,
            version,
            digest: 4,
            losses: 20,
            quorate: true,
            abdicating: Some(member(2)),
            members: everyone.iter().map(|id| Listed { id: *id, incarnation: 1, echo: 2 }).collect(),
            agreed: everyone.clone(),
            joining: everyone.clone(),
            list: version,
            hears: hears.clone(),
            contact: contact(),
        }),
        Message::MemberKeepalive(MemberKeepalive {
            reign,
            seq: 1,
            heard: 2,
            applied: version,
            holds: version,
            draining: true,
            hears,
            contact: contact(),
        }),
        Message::TableChunk(TableChunk { reign, version, chunk: 3, moved: 7, entries: vec![entry; CHUNK_ENTRIES] }),
        Message::TableRequest(reign),
        Message::Loads(Loads { reign, loads: Unit::all().take(LOADS_MAX).map(|unit| (unit, u32::MAX)).collect() }),
        Message::Move(reign, MoveStep::Prepare { id: 1, base: version, from: member(1), to: member(2), units }),
        Message::Move(reign, MoveStep::Prepared(2)),
        Message::Move(reign, MoveStep::Stop(3)),
        Message::Move(reign, MoveStep::LogHeld(4)),
        Message::OtherMasterExists(reign),
        Message::ExitRequest(reign),
        Message::Exit(reign),
        Message::Abdicate(reign, member(2)),
        Message::JoinRequest(JoinRequest {
            protocol: 1,
            config_digest: [7; 32],
            roles: vec![1; PORTS_MAX],
            incarnation: 9,
            contact: contact(),
            term: 11,
        }),
        Message::JoinAnswer(JoinAnswer::Ack { reign, incarnation: 8 }),
        Message::InSync(InSync {
            number: 5,
            version,
            part: 1,
            parts: 6,
            holders: everyone
                .iter()
                .take(IN_SYNC_HOLDERS_MAX)
                .map(|id| Holder { member: *id, incarnation: 3, units: Unit::all().skip(1).collect() })
                .collect(),
        }),
        Message::InSyncKnown(InSyncKnown { reign, number: 6 }),
    ];
    // A log costs one for each unit and each digest: many small logs are the largest.
    let small: Vec<_> = Unit::all().take(LOG_DIGESTS_MAX / 2).map(|unit| (unit, Some(vec![1]))).collect();
    let large = vec![(Unit::from_low_bits(1), Some(vec![1; LOG_DIGESTS_MAX - 1])), (Unit::from_low_bits(2), None)];
    for digests in [small, large] {
        messages.push(Message::Move(reign, MoveStep::Log { id: 1, part: 0, parts: 2, digests }));
    }
    messages.extend(NAK_REASONS.map(|reason| Message::JoinAnswer(JoinAnswer::Nak(reason))));
    messages
}

#[test]
fn every_message_survives_and_the_largest_fits_a_datagram() {
    for message in largest() {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        assert!(bytes.len() <= BODY_BYTES_MAX, "{} bytes: {message:?}", bytes.len());
        assert_eq!(decode(&bytes), Ok(message));
    }
}

#[test]
fn a_message_cut_short_anywhere_is_refused() {
    for message in largest() {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        let without_term = matches!(message, Message::JoinRequest(_)).then(|| bytes.len() - 8);
        for length in (0..bytes.len()).filter(|length| Some(*length) != without_term) {
            assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes: {message:?}", bytes.len());
        }
    }
}

/// Before candidates said which terms they know.
#[test]
fn an_older_members_join_request_is_understood() {
    let request = JoinRequest {
        protocol: 1,
        config_digest: [7; 32],
        roles: vec![1],
        incarnation: 9,
        contact: contact(),
        term: 0,
    };
    let mut bytes = Vec::new();
    encode(&Message::JoinRequest(request.clone()), &mut bytes);
    bytes.truncate(bytes.len() - 8);
    assert_eq!(decode(&bytes), Ok(Message::JoinRequest(request)));
}

#[test]
fn what_a_newer_member_adds_is_ignored() {
    for message in largest() {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        bytes.extend([1, 2, 3]);
        assert_eq!(decode(&bytes), Ok(message));
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm_and_what_is_understood_is_said_again_alike(
        mut bytes in proptest::collection::vec(any::<u8>(), 2..600), kind in 0_u8..17,
    ) {
        bytes[0] = FORMAT;
        bytes[1] = kind;
        if let Ok(message) = decode(&bytes) {
            let mut again = Vec::new();
            encode(&message, &mut again);
            prop_assert_eq!(decode(&again), Ok(message));
        }
    }
}
