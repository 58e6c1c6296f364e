//! Cluster messages: any bytes decode or do not; what decodes encodes to no more bytes, and decodes to the same again.

use phalanx_control::codec::{decode, encode};

/// See the module.
pub(super) fn target(data: &[u8]) {
    let Ok(message) = decode(data) else { return };
    let mut bytes = Vec::new();
    encode(&message, &mut bytes);
    assert!(bytes.len() <= data.len(), "{message:?}");
    assert_eq!(decode(&bytes).as_ref(), Ok(&message));
    for short in 0..bytes.len() {
        assert!(decode(&bytes[..short]).is_err(), "{message:?} cut to {short} bytes");
    }
}
