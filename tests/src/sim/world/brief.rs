//! What happens, in a line each, for a violation's story.

use phalanx_control::cluster::Message;
use phalanx_dataplane::steer::Notice;

use super::Event;

pub(super) fn brief(event: &Event) -> String {
    match event {
        Event::Datagram(_, path, sent) => format!("{} by {path:?}: {}", sent.from + 1, brief_message(&sent.message)),
        Event::Reliable(_, sent) => format!("{} reliably: {}", sent.from + 1, brief_message(&sent.message)),
        Event::Tell(_, _, Notice::Applied { version, logs }) => format!("applied {version}, {} logs", logs.len()),
        other => format!("{other:?}"),
    }
}

pub(super) fn brief_message(message: &Message) -> String {
    match message {
        Message::MasterKeepalive(k) => format!(
            "master t{} seq {} table {}.{} n {} quorate {} list {}.{} agreed {:?} {:?}",
            k.reign.term,
            k.seq,
            k.version.term,
            k.version.generation,
            k.losses,
            k.quorate,
            k.list.term,
            k.list.generation,
            k.agreed,
            k.members.iter().map(|m| (m.id, m.incarnation, m.echo)).collect::<Vec<_>>()
        ),
        Message::MemberKeepalive(k) => format!(
            "member of {} t{} seq {} heard {} applied {}.{} holds {}.{}",
            k.reign.master,
            k.reign.term,
            k.seq,
            k.heard,
            k.applied.term,
            k.applied.generation,
            k.holds.term,
            k.holds.generation
        ),
        Message::TableChunk(c) => format!("table {}.{} chunk {}", c.version.term, c.version.generation, c.chunk),
        Message::Beacon(b) => format!("beacon {:?} t{}", b.kind, b.term),
        Message::JoinRequest(r) => format!("join request, incarnation {} t{}", r.incarnation, r.term),
        Message::Loads(_) => "loads".into(),
        other => format!("{other:?}"),
    }
}
