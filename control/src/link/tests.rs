//! Real links over the loopback: who gets through and who does not.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use phalanx_dataplane::unit::MemberId;

use super::*;
use crate::pki::{Authority, WallTime};

/// Longer than anything here takes; only a broken link waits for its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a connection attempt to be refused.
const REFUSAL: Duration = Duration::from_millis(300);

fn id(number: u8) -> MemberId {
    MemberId::new(number).unwrap()
}

struct Ca {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Ca {
    fn new(cluster: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::init(dir.path(), &cluster.parse().unwrap(), WallTime::read_clock()).unwrap();
        Self { dir, authority }
    }

    fn issue(&mut self, number: u8) -> Identity {
        let (now, name) = (WallTime::read_clock(), format!("m{number}").parse().unwrap());
        let issued = self.authority.issue(&name, id(number), 30, now).unwrap();
        Identity::parse(issued.bundle.as_bytes(), now).unwrap()
    }

    fn admission(&self) -> Admission {
        let mut admission = Admission::new(self.authority.certificate().clone());
        admission.load_crl(&std::fs::read(self.dir.path().join("crl.pem")).unwrap()).unwrap();
        admission
    }
}

struct End {
    link: LinkHandle,
    inbox: Receiver<LinkEvent>,
}

impl End {
    fn start(identity: &Identity, admission: Admission) -> Self {
        Self::start_at(identity, admission, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), 64)
    }

    fn start_at(identity: &Identity, admission: Admission, socket: UdpSocket, room: usize) -> Self {
        let (sender, inbox) = bounded(room);
        Self { link: Link::start(identity, admission, socket, sender).unwrap(), inbox }
    }

    fn send(&self, to: &End, expect: u8, bytes: &[u8]) {
        self.link.send(to.link.addr(), id(expect), bytes.to_vec()).unwrap();
    }

    fn receive(&self) -> LinkMessage {
        match self.inbox.recv_timeout(PATIENCE).unwrap() {
            LinkEvent::Message(message) => message,
            refused @ LinkEvent::Refused { .. } => panic!("{refused:?}"),
        }
    }

    fn hears_nothing(&self) {
        while let Ok(event) = self.inbox.recv_timeout(REFUSAL) {
            assert!(matches!(event, LinkEvent::Refused { .. }), "{event:?}");
        }
        assert_eq!(self.link.stats().received, 0);
    }

    fn is_refused(&self, by: u8, why: Refusal) {
        let event = self.inbox.recv_timeout(PATIENCE).unwrap();
        assert_eq!(event, LinkEvent::Refused { by: id(by), why });
    }

    /// Waits until `wanted` holds for the counters: an event, not a guess; time only runs out when the link is broken.
    fn until(&self, wanted: impl Fn(&LinkStats) -> bool) {
        let (_never, tick) = bounded::<()>(0);
        for _ in 0..1000 {
            if wanted(&self.link.stats()) {
                return;
            }
            let _ = tick.recv_timeout(PATIENCE / 1000);
        }
        panic!("never came about: {:?}", self.link.stats());
    }
}

fn pair() -> (Ca, End, End) {
    let mut ca = Ca::new("edge");
    let (one, two) = (ca.issue(1), ca.issue(2));
    let ends = (End::start(&one, ca.admission()), End::start(&two, ca.admission()));
    (ca, ends.0, ends.1)
}

#[test]
fn two_members_talk_in_order_over_one_connection() {
    let (_ca, one, two) = pair();
    for number in 0..20u8 {
        one.send(&two, 2, &[number; 1000]);
    }
    for number in 0..20 {
        let event = two.receive();
        assert_eq!((event.peer.member, event.bytes), (id(1), vec![number; 1000]));
        assert_eq!(event.addr, one.link.addr());
    }
    // The answer takes the same connection back.
    two.send(&one, 1, b"yes");
    let event = one.receive();
    assert_eq!((event.peer.name.as_str(), event.bytes.as_slice()), ("m2", b"yes".as_slice()));
    assert_eq!((one.link.stats().connected, two.link.stats().connected), (1, 1));
}

#[test]
fn long_messages_arrive_and_too_long_ones_are_refused() {
    let (_ca, one, two) = pair();
    for _ in 0..10 {
        one.send(&two, 2, &[5; MESSAGE_BYTES_MAX]);
    }
    one.send(&two, 2, b"");
    for _ in 0..10 {
        assert_eq!(two.receive().bytes, [5; MESSAGE_BYTES_MAX]);
    }
    assert_eq!(two.receive().bytes, b"");
    let long = vec![0; MESSAGE_BYTES_MAX + 1];
    assert_eq!(one.link.send(two.link.addr(), id(2), long), Err(SendError::TooLong));
}

#[test]
fn another_ca_of_the_same_name_is_refused_in_both_directions() {
    let (ca, one, _two) = pair();
    let mut false_ca = Ca::new("edge");
    let stranger = End::start(&false_ca.issue(2), false_ca.admission());
    one.send(&stranger, 2, b"to a false server");
    stranger.send(&one, 1, b"from a false client");
    one.until(|stats| stats.dial_failed > 0);
    stranger.until(|stats| stats.dial_failed > 0);
    one.hears_nothing();
    stranger.hears_nothing();
    // Even one that believes us is not believed: it accepts our CA, but shows its own certificate.
    let gullible = End::start(&false_ca.issue(3), ca.admission());
    gullible.send(&one, 1, b"from a false client");
    one.until(|stats| stats.accept_failed > 0);
    one.hears_nothing();
    gullible.is_refused(1, Refusal::Unknown);
}

#[test]
fn another_clusters_name_is_refused() {
    let (_ca, one, _two) = pair();
    let mut other = Ca::new("core");
    let stranger = End::start(&other.issue(2), other.admission());
    one.send(&stranger, 2, b"?");
    stranger.send(&one, 1, b"?");
    one.until(|stats| stats.dial_failed > 0);
    stranger.until(|stats| stats.dial_failed > 0);
    one.hears_nothing();
    stranger.hears_nothing();
}

/// A member that was given another cluster's identity by mistake, but knows this one's CA.
#[test]
fn another_clusters_member_is_told_so() {
    let (ca, one, _two) = pair();
    let misplaced = End::start(&Ca::new("core").issue(2), ca.admission());
    misplaced.send(&one, 1, b"let me in");
    misplaced.is_refused(1, Refusal::OtherCluster);
    one.hears_nothing();
}

#[test]
fn a_revoked_member_is_refused() {
    let mut ca = Ca::new("edge");
    let (one, two) = (ca.issue(1), ca.issue(2));
    let old_rules = ca.admission();
    ca.authority.revoke("m2", WallTime::read_clock()).unwrap();
    let one = End::start(&one, ca.admission());
    let two = End::start(&two, old_rules);
    two.send(&one, 1, b"let me in");
    two.is_refused(1, Refusal::Revoked);
    one.until(|stats| stats.accept_failed > 0);
    one.send(&two, 2, b"are you there?");
    one.until(|stats| stats.dial_failed > 0);
    one.hears_nothing();
    two.hears_nothing();
}

#[test]
fn revocation_closes_a_living_connection_at_once() {
    let (mut ca, one, two) = pair();
    two.send(&one, 1, b"before");
    assert_eq!(one.receive().bytes, b"before");
    ca.authority.revoke("m2", WallTime::read_clock()).unwrap();
    one.link.set_admission(ca.admission());
    one.until(|stats| stats.revoked == 1);
    // By the farewell, and then by TLS.
    two.is_refused(1, Refusal::Revoked);
    two.send(&one, 1, b"after");
    one.until(|stats| stats.accept_failed > 0);
    two.is_refused(1, Refusal::Revoked);
    assert!(one.inbox.try_recv().is_err());
}

#[test]
fn a_member_that_is_another_than_expected_gets_nothing() {
    let mut ca = Ca::new("edge");
    let (one, three) = (ca.issue(1), ca.issue(3));
    let (one, three) = (End::start(&one, ca.admission()), End::start(&three, ca.admission()));
    one.send(&three, 2, b"for member 2 only");
    one.until(|stats| stats.dial_failed > 0);
    three.hears_nothing();
}

#[test]
fn a_full_queue_says_so_and_what_waits_too_long_is_given_up() {
    let mut ca = Ca::new("edge");
    let one = End::start(&ca.issue(1), ca.admission());
    // Bound, so that nobody else is there, and never answered.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = silent.local_addr().unwrap();
    let refused = (0..200).filter(|_| one.link.send(to, id(2), vec![1]) == Err(SendError::Full)).count();
    assert!(refused >= 200 - 2 * limits::QUEUE_MESSAGES, "{refused}");
    assert_eq!(one.link.stats().queue_full, refused as u64);
    one.until(|stats| stats.expired > 0);
}

#[test]
fn a_full_inbox_makes_the_peer_wait_and_loses_nothing() {
    let mut ca = Ca::new("edge");
    let (one, two) = (ca.issue(1), ca.issue(2));
    let one = End::start(&one, ca.admission());
    let two = End::start_at(&two, ca.admission(), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), 1);
    for number in 0..40u8 {
        one.send(&two, 2, &[number; 20_000]);
    }
    one.until(|stats| stats.sent > 0);
    for number in 0..40 {
        assert_eq!(two.receive().bytes, vec![number; 20_000]);
    }
}

/// Sends until something arrives: what goes out before the sender knows that the connection is dead is lost, and the caller
/// asks again, as it would in life.
fn send_until_heard(from: &End, to: &End, expect: u8, bytes: &[u8]) {
    for _ in 0..50 {
        from.send(to, expect, bytes);
        if to
            .inbox
            .recv_timeout(Duration::from_millis(10))
            .is_ok_and(|event| matches!(event, LinkEvent::Message(it) if it.bytes == bytes))
        {
            return;
        }
    }
    panic!("not reached within half of the idle timeout: {:?}", from.link.stats());
}

#[test]
fn a_member_that_left_and_came_back_is_reached_again() {
    let mut ca = Ca::new("edge");
    let (one, two) = (ca.issue(1), ca.issue(2));
    let one = End::start(&one, ca.admission());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let same_place = socket.try_clone().unwrap();
    let first = End::start_at(&two, ca.admission(), socket, 64);
    one.send(&first, 2, b"to the first");
    first.receive();
    drop(first);
    send_until_heard(&one, &End::start_at(&two, ca.admission(), same_place, 64), 2, b"to the second");
}

/// As after `kill -9`: the first process says no farewell, and the second one knows nothing of its connections. That it is reached long
/// before the idle timeout is the work of the stateless reset.
#[test]
fn a_member_that_was_killed_and_came_back_is_reached_long_before_the_idle_timeout() {
    let mut ca = Ca::new("edge");
    let (one, two) = (ca.issue(1), ca.issue(2));
    let one = End::start(&one, ca.admission());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (to, same_place) = (socket.local_addr().unwrap(), socket.try_clone().unwrap());
    let (sender, inbox) = bounded(64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_admission, seen) = tokio::sync::watch::channel(Arc::new(ca.admission()));
    let driver = {
        let _inside = runtime.enter();
        Driver::new(&two, seen, socket, sender, Arc::default(), None).unwrap()
    };
    one.link.send(to, id(2), b"to the first".to_vec()).unwrap();
    let heard = async {
        while inbox.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            () = driver.run(Vec::new()) => panic!("nobody stopped it"),
            heard = tokio::time::timeout(PATIENCE, heard) => heard.unwrap(),
        }
    });
    // Everything of the first process goes at once; nothing runs any more that could say farewell.
    runtime.shutdown_background();
    send_until_heard(&one, &End::start_at(&two, ca.admission(), same_place, 64), 2, b"to the second");
    assert_eq!(one.link.stats().connected, 2);
}

/// A peer that is a member but does not speak our framing.
#[test]
fn a_hostile_length_ends_the_connection() {
    let mut ca = Ca::new("edge");
    let (one, two) = (ca.issue(1), ca.issue(2));
    let one = End::start(&one, ca.admission());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_keep, seen) = tokio::sync::watch::channel(Arc::new(ca.admission()));
    let config = quinn::ClientConfig::new(tls::configure(&two, seen, mpsc::channel(1).0).unwrap().client);
    runtime.block_on(async {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let connection = endpoint.connect_with(config, one.link.addr(), "m1.phalanx").unwrap().await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(why) = connection.closed().await else { panic!() };
        assert_eq!(&*why.reason, b"not a message");
    });
    one.until(|stats| stats.malformed == 1);
    one.hears_nothing();
}

#[test]
fn every_counter_has_a_description() {
    for (name, description, _) in LinkStats::default().iter() {
        assert!(description.trim().ends_with('.'), "{name}");
    }
}
