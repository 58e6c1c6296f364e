//! IKE SAs: a script behind the desk says what a state machine would say.

use std::net::SocketAddr;

use super::*;
use crate::replica::Change;
use crate::wire::udp;

pub(super) const CHILD_IN: u32 = 0x5_0000 | 77;
pub(super) const CHILD_OUT: u32 = 0x6_0001;
const INITIATOR: u64 = 0xabcd;
const DAY_S: u64 = 86_400;

pub(super) fn at(address: [u8; 4], port: u16) -> SocketAddr {
    (address, port).into()
}

/// A UDP packet without a checksum.
pub(super) fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) = (from.ip(), to.ip()) else { panic!() };
    let payload_len = payload.len() as u16;
    let ip = ipv4::Repr {
        tos: 0,
        id: 1,
        fragment: 0,
        ttl: 9,
        protocol: proto::UDP,
        source,
        destination,
        payload_len: payload_len + 8,
    };
    let mut packet = vec![0; 28 + payload.len()];
    ip.emit(&mut packet).expect("room");
    let (source_port, destination_port) = (from.port(), to.port());
    udp::Repr { source_port, destination_port, payload_len }.emit(&mut packet[20..]).expect("room");
    packet[28..].copy_from_slice(payload);
    packet
}

/// An IKE message that says which one it is.
fn message(initiator: u64, responder: u64, mark: u8) -> Vec<u8> {
    let [a, b] = [initiator, responder].map(u64::to_be_bytes);
    [&a[..], &b, &[33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 29, mark]].concat()
}

/// It comes to port 500.
pub(super) fn request(initiator: u64, responder: u64, mark: u8) -> Vec<u8> {
    datagram(at(PEER, 500), at(HERE, 500), &message(initiator, responder, mark))
}

pub(super) fn child(spi_in: u32, spi_out: u32, udp: Option<Ports>) -> TunnelSpec {
    let transform = "aes256gcm16".parse().expect("a transform");
    let half = |spi: u32| {
        let key = [spi as u8 ^ (spi >> 16) as u8; 36];
        Half { spi, keys: Keys::new(transform, &key, &[]).expect("keys") }
    };
    TunnelSpec {
        name: "road".to_owned(),
        protection: Protection::Esp(transform),
        outer: Outer { udp, ..outer(HERE, PEER) },
        inbound: half(spi_in),
        outbound: half(spi_out),
        ..spec(Numbers::Extended)
    }
}

pub(super) fn add(spec: &TunnelSpec, replaces: Option<u32>) -> ChildChange {
    ChildChange::Add { tunnel: Box::new(spec.clone()), ike_spi: 1, replaces }
}

/// An answer that changes the IKE SA and says so to the peer.
pub(super) fn changed(question: &Question, record: &[u8]) -> Answer {
    let reply = Datagram { from: at(HERE, 500), to: at(PEER, 500), bytes: record.to_vec() };
    Answer {
        record: Kept::Changed(record.to_vec()),
        send: vec![reply],
        ..Answer::nothing(question.ticket, Some(DAY_S))
    }
}

impl Member {
    /// Only what IKE makes.
    pub(super) fn speaking(number: u8, incarnation: u64) -> Self {
        Self::keeping(number, incarnation, Vec::new())
    }

    /// One that is to see to it that these are there.
    pub(super) fn keeping(number: u8, incarnation: u64, keepers: Vec<u64>) -> Self {
        let mut member = Self::new(number, incarnation, &spec(Numbers::Short));
        let wake: crate::worker::Wake = Arc::new(|| {});
        let (desk, session) = super::super::desk(wake.clone(), wake);
        let config = GatewayConfig { keepers, ..GatewayConfig::new(member.id, Vec::new(), REPLICA_KEY) };
        let gateway = Gateway::new(config, Arc::new(BuiltIn), TunnelStats::new(0));
        *member.gateway = gateway.with_desk(desk, Arc::default());
        (0..=u8::MAX).filter(|app| member.gateway.watches(*app)).for_each(|app| member.desk.store.watch(app));
        member.session = Some(session);
        member
    }

    /// What is asked by now.
    pub(super) fn questions(&mut self) -> Vec<Question> {
        self.attend();
        let session = self.session.as_mut().expect("a desk");
        std::iter::from_fn(|| session.next()).collect()
    }

    fn attend(&mut self) {
        while self.gateway.poll_timeout().is_some_and(|at_ns| at_ns <= self.desk.now_ns) {
            self.gateway.handle_timeout(&mut self.desk);
        }
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        self.session.as_mut().expect("a desk").answer(answer).expect("room");
        self.attend();
    }

    /// Answers all that is asked.
    pub(super) fn answer_all(&mut self, script: impl Fn(&Question) -> Answer) -> usize {
        let questions = self.questions();
        questions.iter().for_each(|question| self.answer(script(question)));
        questions.len()
    }

    pub(super) fn ike_count(&self, event: &str) -> u64 {
        let counters = &self.gateway.ike.as_ref().expect("IKE").counters;
        counters.iter().find(|(name, ..)| *name == event).map_or_else(|| panic!("no {event}"), |(.., count)| count)
    }

    /// The messages that were sent.
    pub(super) fn replies(&mut self) -> Vec<Vec<u8>> {
        self.desk.to_peer.drain(..).map(|packet| packet[28..].to_vec()).collect()
    }
}

impl World {
    pub(super) fn speaking() -> Self {
        let members = [Member::speaking(1, 5), Member::speaking(2, 9)];
        let peer = Peer::new(&child(CHILD_IN, CHILD_OUT, None));
        let mut world = Self { members, owner: 1, generation: 0, peer };
        world.turn();
        world
    }

    /// An IKE SA with a tunnel. Answers its SPI.
    pub(super) fn establish(&mut self, spec: &TunnelSpec) -> u64 {
        self.owner().hear(&request(INITIATOR, 0, 1)).expect("taken");
        let question = self.owner().questions().pop().expect("a question");
        let (tunnel, ike_spi) = (Box::new(spec.clone()), question.spi);
        let children = vec![ChildChange::Add { tunnel, ike_spi, replaces: None }];
        self.owner().answer(Answer { children, ..changed(&question, b"one") });
        self.replicate();
        assert_eq!(self.owner().replies(), [b"one"]);
        question.spi
    }

    pub(super) fn backup(&mut self) -> &mut Member {
        &mut self.members[1 - self.owner]
    }

    fn digests_agree(&mut self) {
        let (owner, backup) = (self.owner, 1 - self.owner);
        let member = &mut self.members[owner];
        let live = member.gateway.digest(unit()).wrapping_add(member.desk.store.digest(unit()));
        assert_eq!(live, self.members[backup].desk.store.digest(unit()));
    }
}

#[test]
fn an_answer_is_shown_when_the_backups_hold_it() {
    let mut world = World::speaking();
    world.owner().hear(&request(INITIATOR, 0, 1)).expect("taken");
    let question = world.owner().questions().pop().expect("a question");
    assert_eq!((question.record.as_deref(), question.unit, question.now_s), (None, unit(), 1000));
    assert_eq!((Unit::from_low_bits(question.spi as u32), question.draw[7] % 64), (unit(), 0));
    let Asked::Message { from, to, bytes } = &question.asked else { panic!("{question:?}") };
    assert_eq!((*from, *to, &bytes[28..]), (at(PEER, 500), at(HERE, 500), &[1][..]));
    world.owner().answer(changed(&question, b"one"));
    assert!(world.owner().replies().is_empty(), "nobody holds it yet");
    world.replicate();
    assert_eq!(world.owner().replies(), [b"one"]);
    world.digests_agree();
    // The same again: it is known, and nothing changes, so nothing waits.
    world.owner().hear(&request(INITIATOR, 0, 1)).expect("taken");
    let again = world.owner().questions().pop().expect("a question");
    assert_eq!((again.spi, again.record.as_deref()), (question.spi, Some(&b"one"[..])));
    assert_ne!(again.draw, question.draw);
    let from = at(HERE, 4500);
    let reply = Datagram { from, to: at(PEER, 4500), bytes: b"again".to_vec() };
    world.owner().answer(Answer { send: vec![reply], ..Answer::nothing(again.ticket, Some(DAY_S)) });
    assert_eq!(world.owner().replies(), [b"\0\0\0\0again"], "with the marker");
    assert_eq!(world.owner().ike_count("answers"), 2);
}

/// They answer with two nonces and two keys, so these must be two IKE SAs to the peer; and so must those of two lives of one member.
#[test]
fn two_owners_at_once_give_two_names() {
    let mut world = World::speaking();
    let mut names = HashSet::new();
    for (number, incarnation) in [(0, 5), (1, 9), (1, 10)] {
        let member = &mut world.members[number];
        (member.desk.owned, member.desk.incarnation) = (true, incarnation);
        member.hear(&request(INITIATOR, 0, 1)).expect("taken");
        let question = member.questions().pop().expect("a question");
        assert!(names.insert(question.spi), "{names:x?}");
        member.answer(Answer::nothing(question.ticket, None));
    }
}

/// An owner dies after it has shown an answer, or before. Whether the heir knows what was shown.
fn heir_knows_what_was_shown(too_early: bool) -> bool {
    let mut world = World::speaking();
    world.owner().hear(&request(INITIATOR, 0, 1)).expect("taken");
    world.owner().answer_all(|question| changed(question, b"one"));
    if too_early {
        // The fault: the owner is told that its backup has what it was never sent.
        let backup = world.backup().id;
        let owner = world.owner();
        let head = owner.desk.outbox.head();
        while owner.desk.outbox.poll_ship(backup).is_some() {}
        owner.desk.outbox.acknowledged(backup, head);
        owner.gateway.handle_commit(&mut owner.desk);
    }
    let mut shown = !world.owner().replies().is_empty();
    world.turn();
    // It has nothing to wait for any more, but no unit either.
    let old = world.backup();
    old.gateway.handle_commit(&mut old.desk);
    shown |= !old.replies().is_empty();
    world.owner().hear(&request(INITIATOR, 0, 1)).expect("taken");
    let known = world.owner().questions().pop().expect("a question").record.is_some();
    known || !shown
}

#[test]
fn nothing_is_shown_that_an_heir_would_not_know() {
    assert!(heir_knows_what_was_shown(false));
    assert!(!heir_knows_what_was_shown(true), "the planted fault was not found");
}

#[test]
fn an_heir_goes_on_from_what_was_committed() {
    let mut world = World::speaking();
    let spi = world.establish(&child(CHILD_IN, CHILD_OUT, None));
    for turn in 0..4_u8 {
        world.turn();
        world.digests_agree();
        let owner = world.owner();
        owner.hear(&request(INITIATOR, spi, 2)).expect("taken");
        owner.hear(&request(INITIATOR, 0, 1)).expect("a first message, sent again");
        let records: Vec<_> = owner.questions().into_iter().map(|it| (it.spi, it.record.clone(), it.ticket)).collect();
        let before = if turn == 0 { b"one".to_vec() } else { vec![turn - 1] };
        assert_eq!((records.len(), records[0].0, &records[0].1), (1, spi, &Some(before)), "one at a time");
        let answer = Answer { record: Kept::Changed(vec![turn]), ..Answer::nothing(records[0].2, Some(DAY_S)) };
        owner.answer(answer);
        assert_eq!(owner.answer_all(|question| Answer::nothing(question.ticket, Some(DAY_S))), 1, "what waited");
        world.replicate();
    }
    assert_eq!(world.owner().ike_count("not_restored"), 0);
}

/// It has a time at which it is due, whether its owner changes or not.
#[test]
fn what_is_due_is_asked_after() {
    let mut world = World::speaking();
    world.owner().hear(&request(INITIATOR, 0, 1)).expect("taken");
    let due = |question: &Question, at_s| Answer { timeout_s: at_s, ..changed(question, b"one") };
    world.owner().answer_all(|question| due(question, Some(1010)));
    world.replicate();
    let ask_after = |world: &mut World, clock_s| {
        world.owner().desk.clock_s = clock_s;
        world.owner().wait(2000 * MS);
        let questions = world.owner().questions();
        questions.iter().for_each(|question| assert_eq!(question.asked, Asked::Timeout));
        questions
    };
    assert!(ask_after(&mut world, 1009).is_empty());
    assert_eq!(ask_after(&mut world, 1010).len(), 1);
    assert!(ask_after(&mut world, 1010).is_empty(), "it is being answered");
    // The owner falls silent: its heir asks by itself, with no message.
    world.turn();
    let question = ask_after(&mut world, 1011).pop().expect("a question");
    world.owner().answer(Answer::nothing(question.ticket, Some(2000)));
    assert!(ask_after(&mut world, 1999).is_empty());
    world.replicate();
    world.turn();
    assert!(ask_after(&mut world, 1999).is_empty(), "the time was replicated");
    let question = ask_after(&mut world, 2000).pop().expect("a question");
    world.owner().answer(Answer { record: Kept::Ended, ..Answer::nothing(question.ticket, None) });
    assert!(ask_after(&mut world, 9000).is_empty());
    world.replicate();
    world.digests_agree();
    assert_eq!((world.owner().ike_count("sas"), world.owner().gateway.poll_timeout()), (0, None));
    assert_eq!(world.backup().desk.store.sessions(unit()).count(), 0);
}

#[test]
fn an_answer_for_a_unit_that_left_is_nothing() {
    let mut world = World::speaking();
    world.establish(&child(CHILD_IN, CHILD_OUT, None));
    let old = world.owner;
    world.owner().hear(&request(INITIATOR, 0, 7)).expect("taken");
    let question = world.owner().questions().pop().expect("a question");
    world.turn();
    let head = world.members[old].desk.outbox.head();
    world.members[old].answer(changed(&question, b"lost"));
    assert_eq!((world.members[old].ike_count("stale"), world.members[old].desk.outbox.head()), (1, head));
    // Nor if it is back.
    world.turn();
    world.members[old].answer(changed(&question, b"lost"));
    assert_eq!(world.members[old].ike_count("stale"), 2);
    world.replicate();
    assert!(world.members[old].replies().is_empty());
    world.owner().hear(&request(INITIATOR, 0, 7)).expect("taken");
    assert_eq!(world.owner().questions()[0].record.as_deref(), Some(&b"one"[..]));
}

#[test]
fn what_waits_for_answers_is_bounded() {
    let mut world = World::speaking();
    let owner = world.owner();
    for mark in 0..7 {
        let done = owner.hear(&request(INITIATOR, 0, mark));
        assert_eq!(done, if mark < 5 { Ok(()) } else { Err(DropReason::IkeBusy) }, "message {mark}");
    }
    for mark in 0..5 {
        let question = owner.questions().pop().expect("a question");
        let Asked::Message { bytes, .. } = &question.asked else { panic!("{question:?}") };
        assert_eq!(bytes[28], mark, "in order");
        owner.answer(Answer::nothing(question.ticket, None));
    }
    assert_eq!((owner.questions().len(), owner.ike_count("sas")), (0, 0), "one that never began leaves nothing");
    for initiator in 1..=300 {
        let done = owner.hear(&request(initiator, 0, 0));
        assert_eq!(done, if initiator <= 256 { Ok(()) } else { Err(DropReason::IkeBusy) }, "initiator {initiator}");
    }
    // Whoever sits behind the desk has lost them all.
    assert_eq!(owner.questions().len(), 256);
    owner.wait(15_000 * MS);
    assert_eq!((owner.ike_count("unanswered"), owner.ike_count("sas")), (256, 0));
    assert_eq!(owner.hear(&request(1, 0, 0)), Ok(()));
}

/// What is asked twice is obeyed once, and before what came after it.
#[test]
fn a_question_without_an_answer_is_asked_once_more() {
    let mut world = World::speaking();
    let spi = world.establish(&child(CHILD_IN, CHILD_OUT, None));
    let owner = world.owner();
    owner.hear(&request(INITIATOR, spi, 2)).expect("taken");
    let lost = owner.questions().pop().expect("a question");
    owner.wait(4000 * MS);
    owner.hear(&request(INITIATOR, spi, 3)).expect("taken");
    owner.wait(5000 * MS);
    assert!(owner.questions().is_empty(), "one at a time");
    owner.wait(3000 * MS);
    let again = owner.questions().pop().expect("a question");
    assert_eq!((&again.asked, again.record.as_deref()), (&lost.asked, Some(&b"one"[..])));
    assert_eq!((owner.ike_count("unanswered"), again.draw == lost.draw), (1, false));
    let head = owner.desk.outbox.head();
    owner.answer(changed(&lost, b"late"));
    assert_eq!((owner.ike_count("stale"), owner.desk.outbox.head()), (1, head));
    owner.answer(changed(&again, b"two"));
    world.replicate();
    assert_eq!(world.owner().replies(), [b"two"]);
    let owner = world.owner();
    let next = owner.questions().pop().expect("what waited");
    assert_eq!((next.asked == lost.asked, next.record.as_deref()), (false, Some(&b"two"[..])));
    // One that nobody can answer does not stand in the way for ever.
    owner.hear(&request(INITIATOR, spi, 4)).expect("taken");
    owner.wait(12_000 * MS);
    assert_eq!(owner.questions().pop().expect("a question").asked, next.asked);
    owner.wait(12_000 * MS);
    assert!(owner.questions().is_empty());
    owner.hear(&request(INITIATOR, spi, 5)).expect("taken");
    assert_eq!(owner.questions().len(), 1);
}

#[test]
fn what_is_no_message_is_dropped_with_its_reason() {
    let mut world = World::speaking();
    world.establish(&child(CHILD_IN, CHILD_OUT, None));
    let owner = world.owner();
    let strange = message(INITIATOR, 0x1234_5000 | 77, 0);
    let elsewhere = message(INITIATOR, 0x1234_5000 | 78, 0);
    let to = |port, payload: &[u8]| datagram(at(PEER, 500), at(HERE, port), payload);
    for (packet, expected) in [
        (to(500, &strange), Err(DropReason::IkeNoSa)),
        (to(500, &elsewhere), Err(DropReason::IkeNoSa)),
        (to(500, &strange[..28]), Err(DropReason::IkeMalformed)),
        (to(4500, &[&[0; 4], &strange[..]].concat()), Err(DropReason::IkeNoSa)),
        (to(4500, &[0; 3]), Err(DropReason::IkeMalformed)),
        (to(4500, &[0, 0, 9, 9]), Err(DropReason::EspMalformed)),
        (to(4500, &[9; 40]), Err(DropReason::EspNoSa)),
        (to(4500, &[0xff]), Ok(())),
    ] {
        assert_eq!(owner.hear(&packet), expected, "{packet:x?}");
    }
    let mut damaged = to(500, &message(INITIATOR, 0, 0));
    damaged[27] = 1;
    assert_eq!(owner.hear(&damaged), Err(DropReason::IkeMalformed), "a wrong checksum");
    assert_eq!((owner.ike_count("keepalives"), owner.questions().len()), (1, 0));
    assert!(!owner.gateway.claims(&summarise_l3(&to(501, &[])).expect("a packet")));
}

/// What cannot be obeyed is not obeyed at all.
#[test]
fn an_answer_that_makes_no_sense_changes_nothing() {
    let mut world = World::speaking();
    let spi = world.establish(&child(CHILD_IN, CHILD_OUT, None));
    let twice = child(CHILD_IN + 1024, CHILD_OUT, None);
    let mut short = twice.clone();
    short.outbound.keys = Keys::new("aes128gcm16".parse().expect("a transform"), &[1; 20], &[]).expect("keys");
    type Spoil = Box<dyn Fn(&mut Answer)>;
    let cases: Vec<Spoil> = vec![
        Box::new(|it| it.children = vec![add(&child(CHILD_IN, 9, None), None)]),
        Box::new(|it| it.children = vec![add(&child(CHILD_IN + 1, 9, None), None)]),
        Box::new(|it| it.children = vec![add(&child(77, 9, None), None)]),
        Box::new(move |it| it.children = vec![add(&twice, None), add(&twice, None)]),
        Box::new(move |it| it.children = vec![add(&short, None)]),
        Box::new(|it| it.children = vec![ChildChange::Remove { spi: CHILD_IN + 1 }]),
        Box::new(|it| it.record = Kept::Changed(vec![0; 32 << 10])),
        Box::new(move |it| it.successor = Some((spi, vec![1], None))),
        Box::new(move |it| it.successor = Some((spi + 1, vec![1], None))),
    ];
    for (number, spoil) in cases.iter().enumerate() {
        let owner = world.owner();
        owner.hear(&request(INITIATOR, spi, 9)).expect("taken");
        let question = owner.questions().pop().expect("a question");
        assert_eq!(question.record.as_deref(), Some(&b"one"[..]));
        let mut answer = changed(&question, b"two");
        spoil(&mut answer);
        let head = owner.desk.outbox.head();
        owner.answer(answer);
        assert_eq!((owner.ike_count("refused"), owner.desk.outbox.head()), (number as u64 + 1, head), "case {number}");
        assert!(owner.replies().is_empty());
    }
}

#[test]
fn an_ike_sa_takes_anothers_place() {
    let mut world = World::speaking();
    let old = world.establish(&child(CHILD_IN, CHILD_OUT, None));
    let new = old ^ 1 << 40;
    world.owner().hear(&request(INITIATOR, old, 2)).expect("taken");
    let successor = Some((new, b"new".to_vec(), Some(2000)));
    world.owner().answer_all(|question| Answer { successor: successor.clone(), ..changed(question, b"old") });
    world.replicate();
    world.digests_agree();
    world.turn();
    let owner = world.owner();
    owner.hear(&request(INITIATOR, new, 3)).expect("taken");
    owner.hear(&request(INITIATOR, old, 3)).expect("taken");
    let questions: Vec<_> = owner.questions().into_iter().map(|it| (it.spi, it.record)).collect();
    assert_eq!(questions, [(new, Some(b"new".to_vec())), (old, Some(b"old".to_vec()))]);
}

/// Its tunnels go with it, awake or asleep, and their records say so: whoever has them asks the right one for new keys.
#[test]
fn tunnels_know_the_ike_sa_that_has_taken_anothers_place() {
    for asleep in [false, true] {
        let mut world = World::speaking();
        let old = world.establish(&child(CHILD_IN, CHILD_OUT, None));
        if asleep {
            world.turn();
        }
        let new = old ^ 1 << 40;
        world.owner().hear(&request(INITIATOR, old, 2)).expect("taken");
        let successor = Some((new, b"new".to_vec(), Some(2000)));
        let children = vec![ChildChange::Adopt { spi: CHILD_IN, ike_spi: new }];
        let answer = |question: &Question| Answer {
            successor: successor.clone(),
            children: children.clone(),
            ..changed(question, b"old")
        };
        world.owner().answer_all(answer);
        world.replicate();
        world.digests_agree();
        for _ in 0..2 {
            let owner = world.owner();
            let _ = owner.send_into(CHILD_IN, &packet(INSIDE, BRANCH, 1, 100, 0));
            let number = owner.gateway.slots.find(CHILD_IN).expect("awake");
            let known = owner.gateway.slots.get(number).and_then(|slot| slot.child).expect("IKE's");
            assert_eq!(known.ike_spi, new, "asleep: {asleep}");
            world.turn();
        }
        // Of another unit it cannot be.
        let owner = world.owner();
        owner.hear(&request(INITIATOR, new, 3)).expect("taken");
        let children = vec![ChildChange::Adopt { spi: CHILD_IN, ike_spi: new + 1 }];
        owner.answer_all(|question| Answer { children: children.clone(), ..changed(question, b"other") });
        assert_eq!(owner.ike_count("refused"), 1);
    }
}

/// A record that a newer member wrote is none that this one can read.
#[test]
fn a_record_that_is_none_is_let_go_of() {
    let mut world = World::speaking();
    let spi = u64::from(CHILD_IN);
    let session = super::super::record::ike_key(spi);
    let store = &mut world.owner().desk.store;
    for change in [Change::Initial { version: 1, bytes: &[] }, Change::Essential { version: 9, bytes: &[0; 20] }] {
        store.keep(&Update::new(unit(), session, IKE_APP, change)).expect("kept");
    }
    assert_eq!(world.owner().hear(&request(INITIATOR, spi, 0)), Err(DropReason::IkeNoSa));
    assert_eq!(world.owner().ike_count("not_restored"), 1);
    world.replicate();
    world.digests_agree();
}

#[test]
fn operators_see_all_and_wish_for_one() {
    let mut world = World::speaking();
    let spi = world.establish(&child(CHILD_IN, CHILD_OUT, None));
    let session = |world: &mut World, act: fn(&mut SessionDesk, u64) -> bool, spi: u64| {
        let owner = world.owner();
        assert!(act(owner.session.as_mut().expect("a desk"), spi));
        owner.questions()
    };
    let shown = session(&mut world, |desk, _| desk.show(), spi);
    let seen: Vec<_> = shown.iter().map(|it| (it.asked.clone(), it.spi, it.record.as_deref())).collect();
    assert_eq!(seen, [(Asked::Shown, spi, Some(&b"one"[..])), (Asked::ShownAll, 0, None)]);
    let wished = session(&mut world, |desk, spi| desk.wish(spi, Wish::Rekey), spi);
    assert_eq!((wished.len(), &wished[0].asked, wished[0].spi), (1, &Asked::Wish(Wish::Rekey), spi));
    // While that is out, the next one waits.
    assert!(session(&mut world, |desk, spi| desk.wish(spi, Wish::Close), spi).is_empty());
    world.owner().answer(Answer::nothing(wished[0].ticket, Some(DAY_S)));
    let next = world.owner().questions();
    assert_eq!(next.iter().map(|it| &it.asked).collect::<Vec<_>>(), [&Asked::Wish(Wish::Close)]);
    assert!(session(&mut world, |desk, _| desk.wish(77, Wish::Close), spi).is_empty(), "nobody knows that one");
    // Who does not serve it does nothing.
    let backup = world.backup();
    assert!(backup.session.as_mut().expect("a desk").wish(spi, Wish::Close));
    assert!(backup.questions().is_empty());
}
