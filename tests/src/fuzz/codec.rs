//! Cluster messages: any bytes decode or do not; what decodes encodes to no more bytes than it had, but for what older members do not
//! say, and decodes to the same again. Cut short, it does not decode, but for just that.

use phalanx_control::cluster::Message;
use phalanx_control::codec::{decode, encode};

/// See the module.
pub(super) fn target(data: &[u8]) {
    let Ok(message) = decode(data) else { return };
    let mut bytes = Vec::new();
    encode(&message, &mut bytes);
    let added = added_later(&message);
    assert!(bytes.len() <= data.len() + added, "{message:?}");
    assert_eq!(decode(&bytes).as_ref(), Ok(&message));
    let older = bytes.len() - added;
    for short in (0..bytes.len()).filter(|short| *short != older) {
        assert!(decode(&bytes[..short]).is_err(), "{message:?} cut to {short} bytes");
    }
}

/// The bytes at a message's end that older members do not send.
const fn added_later(message: &Message) -> usize {
    // The highest term that a candidate knows.
    if matches!(message, Message::JoinRequest(_)) { 8 } else { 0 }
}
