//! Where a worker meets who speaks IKE.
//!
//! *An IKE SA is a value.* The worker owns it, as bytes that it cannot read. With each message it hands the bytes over the desk; who
//! sits behind it, on a thread of its own, answers with the bytes that come after, the tunnels that come and go by it, and the
//! messages that are to be sent. Nothing is kept there. So whatever outlives a member is what its workers have told their
//! backups: a new owner goes on from the last bytes that were committed, and the peer, which got no answer to what was not,
//! asks again.
//!
//! Two wait-free rings, allocated at the start; each side wakes the other.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::book::Word;
use super::spec::TunnelSpec;
use crate::ipsec::outer::Ports;
use crate::unit::Unit;
use crate::worker::Wake;

/// Questions of one worker that wait for answers.
pub const QUESTIONS_MAX: usize = 256;
/// IVs that one question's answer may use: [`Question::draw`] is the first, and its low bits are clear.
pub const DRAWS: u64 = 64;

/// What is to be answered.
pub struct Question {
    /// Names it in its answer.
    pub ticket: u64,
    /// The IKE SA's unit, and that of all its tunnels.
    pub unit: Unit,
    /// Our SPI of the IKE SA, with the unit in its low ten bits. One that begins has it already.
    pub spi: u64,
    /// The IKE SA as it was last answered; none: there is none.
    pub record: Option<Vec<u8>>,
    /// A clock that all members share to within a minute, in seconds.
    pub now_s: u64,
    /// What has happened.
    pub asked: Asked,
    /// A number, big-endian, that no other question of any member's ever has, nor the [`DRAWS`] - 1 numbers behind it: for the explicit
    /// IVs of IKE's own AEAD.
    pub draw: [u8; 8],
}

/// What has happened to an IKE SA.
#[derive(Clone, PartialEq, Eq)]
pub enum Asked {
    /// A message has come, of which only the fixed header was looked at.
    Message {
        /// From the peer.
        from: SocketAddr,
        /// To this address of the cluster.
        to: SocketAddr,
        /// The IKE message, without the marker that it has on port 4500.
        bytes: Vec<u8>,
    },
    /// A sealed request came under an IKE SA that no member has. Only what is to be said to its sender is taken of the answer.
    Lost {
        /// From the peer.
        from: SocketAddr,
        /// To this address of the cluster.
        to: SocketAddr,
        /// Its header, as a message of its own.
        head: [u8; 28],
    },
    /// The time that it asked for has come. Asked again every second until an answer names another.
    Timeout,
    /// Somebody wants this of it.
    Wish(Wish),
    /// Nothing: it is shown, because somebody wants to see all ([`SessionDesk::show`]). Not to be answered.
    Shown,
    /// All have been shown, and this is none. Not to be answered.
    ShownAll,
}

/// What an operator, or a worker, may want of an IKE SA.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wish {
    /// That it ends.
    Close,
    /// That it gets new keys.
    Rekey,
    /// That it ends without a word: its peer has come anew, and knows nothing of it.
    Forget,
    /// That a tunnel of its, by our SPI, gets new keys: it has carried much.
    RekeyChild(u32),
    /// That it ends: it has carried all that it may.
    CloseChild(u32),
}

/// What the other side sends to a worker.
pub(super) enum Order {
    Answer(Answer),
    Wish(u64, Wish),
    Show,
}

/// What is to be done.
pub struct Answer {
    /// The question's.
    pub ticket: u64,
    /// What becomes of the IKE SA.
    pub record: Kept,
    /// When it is to be asked after next, on the clock of [`Question::now_s`].
    pub timeout_s: Option<u64>,
    /// Tunnels that come and go, in this order.
    pub children: Vec<ChildChange>,
    /// An IKE SA that takes its place, of the same unit: our SPI, its bytes, when it is to be asked after. An SPI that is chosen has the
    /// highest bit set, and in the eight below it [`Question::now_s`] in ages of 64 s: nobody is told of such a one that it is lost while
    /// an IKE SA may still come about under it ([`super::may_come_about`]).
    pub successor: Option<(u64, Vec<u8>, Option<u64>)>,
    /// What is to be sent, once the backups hold all of the above.
    pub send: Vec<Datagram>,
    /// It was about a message in clear: whether that proved that the peer has lost the IKE SA.
    pub token: Option<bool>,
    /// Another of the same unit, by our SPI, that is to be asked at once, as if its time had come.
    pub prompts: Option<u64>,
}

/// What becomes of an IKE SA.
#[derive(Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is as it was.
    Unchanged,
    /// It is this now.
    Changed(Vec<u8>),
    /// It is no more. Its tunnels are to be removed by name.
    Ended,
}

/// A tunnel comes, goes, or changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChildChange {
    /// It comes.
    Add {
        /// All of it. Its unit is the IKE SA's.
        tunnel: Box<TunnelSpec>,
        /// Our SPI of the IKE SA that it belongs to from now on.
        ike_spi: u64,
        /// The inbound SPI of the one whose place it takes. That one is to be removed later, by name.
        replaces: Option<u32>,
    },
    /// It goes.
    Remove {
        /// Its inbound SPI.
        spi: u32,
    },
    /// Its packets go to another address.
    Move {
        /// Its inbound SPI.
        spi: u32,
        /// Our address.
        source: IpAddr,
        /// The peer's.
        destination: IpAddr,
        /// With a NAT between.
        udp: Option<Ports>,
    },
    /// Its next packets' numbers are not used.
    Skip {
        /// Its inbound SPI.
        spi: u32,
        /// So many.
        count: u64,
    },
    /// It goes on under another IKE SA, which has taken the place of the one that it belonged to.
    Adopt {
        /// Its inbound SPI.
        spi: u32,
        /// Our SPI of the IKE SA.
        ike_spi: u64,
    },
}

/// An IKE message to be sent. It must fit into the buffer of one packet (RFC 7383): about 2,000 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// An address of the cluster. From port 4500 the worker puts the marker before it.
    pub from: SocketAddr,
    /// The peer.
    pub to: SocketAddr,
    /// The message, without the marker.
    pub bytes: Vec<u8>,
}

/// The worker's side.
pub struct WorkerDesk {
    questions: Producer<Question>,
    orders: Consumer<Order>,
    wake_session: Wake,
}

/// The other side.
pub struct SessionDesk {
    questions: Consumer<Question>,
    orders: Producer<Order>,
    wake_worker: Wake,
    /// What the worker tells of tunnels.
    words: Option<Consumer<Word>>,
}

/// A desk, and what wakes who sits on each side.
pub fn desk(wake_worker: Wake, wake_session: Wake) -> (WorkerDesk, SessionDesk) {
    let (asking, questions) = RingBuffer::new(QUESTIONS_MAX);
    // As many as can be asked, and those that were given up meanwhile.
    let (ordering, orders) = RingBuffer::new(2 * QUESTIONS_MAX);
    let worker = WorkerDesk { questions: asking, orders, wake_session };
    (worker, SessionDesk { questions, orders: ordering, wake_worker, words: None })
}

impl WorkerDesk {
    pub(super) fn has_room(&self) -> bool {
        !self.questions.is_full()
    }

    pub(super) fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// Whether there is room for a question that can wait.
    pub(super) fn has_much_room(&self) -> bool {
        self.questions.slots() > QUESTIONS_MAX / 2
    }

    /// False: there is no room.
    pub(super) fn ask(&mut self, question: Question) -> bool {
        let asked = self.questions.push(question).is_ok();
        if asked {
            (self.wake_session)();
        }
        asked
    }

    pub(super) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop().ok()
    }
}

#[allow(clippy::should_implement_trait, reason = "there may be a next one after there was none")]
impl SessionDesk {
    /// The next question.
    pub fn next(&mut self) -> Option<Question> {
        self.questions.pop().ok()
    }

    /// Whether there is one.
    pub fn is_asked(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Listens to what the worker tells of tunnels.
    pub(crate) fn listen(mut self, words: Consumer<Word>) -> Self {
        self.words = Some(words);
        self
    }

    /// The next that the worker tells of tunnels: of all that IKE has made in units that it serves, for itself or as a backup.
    pub fn next_word(&mut self) -> Option<Word> {
        self.words.as_mut()?.pop().ok()
    }

    /// Answers one. Each is to be answered; one that is not is asked by its worker once more after ten seconds, under another ticket.
    ///
    /// # Errors
    /// The worker has not read those before: try again.
    #[allow(clippy::result_large_err, reason = "it is given back")]
    pub fn answer(&mut self, answer: Answer) -> Result<(), Answer> {
        let done = self.orders.push(Order::Answer(answer)).map_err(|PushError::Full(order)| match order {
            Order::Answer(answer) => answer,
            Order::Wish(..) | Order::Show => unreachable!("it is what was pushed"),
        });
        (self.wake_worker)();
        done
    }

    /// Wants something of an IKE SA, if the worker serves it. False: the worker has too much to read.
    pub fn wish(&mut self, spi: u64, wish: Wish) -> bool {
        self.order(Order::Wish(spi, wish))
    }

    /// Wants to see all IKE SAs that the worker serves: they come as questions. False: the worker has too much to read.
    pub fn show(&mut self) -> bool {
        self.order(Order::Show)
    }

    fn order(&mut self, order: Order) -> bool {
        let done = self.orders.push(order).is_ok();
        (self.wake_worker)();
        done
    }
}

impl Answer {
    /// That nothing has changed and nothing is to be done; to be filled in.
    pub fn nothing(ticket: u64, timeout_s: Option<u64>) -> Self {
        Self {
            ticket,
            record: Kept::Unchanged,
            timeout_s,
            children: Vec::new(),
            successor: None,
            send: Vec::new(),
            token: None,
            prompts: None,
        }
    }
}

impl fmt::Debug for Question {
    /// Without the record, which has keys in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticket, unit, spi, asked, .. } = self;
        let mut it = f.debug_struct("Question");
        it.field("ticket", ticket).field("unit", unit).field("spi", spi).field("asked", asked).finish_non_exhaustive()
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { from, to, bytes } => write!(f, "Message({from} -> {to}, {} bytes)", bytes.len()),
            Self::Lost { from, to, .. } => write!(f, "Lost({from} -> {to})"),
            Self::Timeout => f.write_str("Timeout"),
            Self::Wish(wish) => wish.fmt(f),
            Self::Shown => f.write_str("Shown"),
            Self::ShownAll => f.write_str("ShownAll"),
        }
    }
}

impl fmt::Debug for Answer {
    /// Without the records, which have keys in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticket, record, timeout_s, children, send, .. } = self;
        let mut it = f.debug_struct("Answer");
        it.field("ticket", ticket).field("record", record).field("timeout_s", timeout_s);
        it.field("children", children).field("send", send).finish_non_exhaustive()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unchanged => "Unchanged",
            Self::Changed(_) => "Changed",
            Self::Ended => "Ended",
        })
    }
}

impl fmt::Debug for SessionDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionDesk").finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkerDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerDesk").finish_non_exhaustive()
    }
}
