//! `start = "always"`: whether a connection is one that we can begin.

use ipnet::IpNet;

use super::ike::CONNECTION;
use crate::defaults;
use crate::problem::{Kind, Problems, Span};
use crate::read::At;
use crate::schema::{IkeChild, PeersProof};

/// Notes what keeps us from beginning.
pub(super) fn can_begin(
    problems: &mut Problems<'_>,
    start: &Span,
    (remote, has_local): (&At<Vec<IpNet>>, bool),
    (peers, pools): (&PeersProof, &At<Vec<At<String>>>),
    children: &[IkeChild],
) {
    let mut refuse = |span: &Span, kind, what: &str, fix: &str| {
        problems.add(span, kind, format!("{CONNECTION} `start` is \"always\", and {what}"), fix);
    };
    match &remote.value[..] {
        [host] if host.prefix_len() == host.max_prefix_len() => {}
        [] => refuse(
            start,
            Kind::MissingKey,
            "there is no `remote` to say where the peer is",
            "add a line such as `remote = [\"192.0.2.9/32\"]`",
        ),
        _ => refuse(
            &remote.span,
            Kind::Contradiction,
            "`remote` is more than one address: nobody knows which the peer has",
            "give the peer's own, such as [\"192.0.2.9/32\"]; another connection can be for the others",
        ),
    }
    if !has_local {
        let fix = "add a line such as `local = \"198.51.100.1\"`";
        refuse(start, Kind::MissingKey, "there is no `local` to say from which cluster address", fix);
    }
    if *peers == PeersProof::Password {
        let fix = "remove `start`, or let the peer prove its name by `ca` or `psk`";
        refuse(start, Kind::Contradiction, "`eap` asks for a password, which only who begins is asked for", fix);
    }
    if !pools.value.is_empty() {
        let fix = "remove `pools`, or remove `start`";
        refuse(&pools.span, Kind::Contradiction, "`pools` gives addresses to peers that begin", fix);
    }
    let most = defaults::IKE_CHILDREN_BEGUN_MAX;
    if children.len() > most {
        let what = format!("there are more than {most} children");
        refuse(start, Kind::OutOfRange, &what, "use fewer: one child can carry several networks' traffic");
    }
}
