//! What answers on a member's control socket, as the command line reads it: HTTP, then a status in JSON.

use phalanx_control::cli::client;
use phalanx_control::status::Status;

/// See the module.
pub(super) fn target(data: &[u8]) {
    if let Ok(answer) = client::parse(data) {
        assert!(answer.body.len() <= data.len(), "a body longer than what was sent");
        status(&answer.body);
    }
    status(data);
}

/// A status that is read can be written, and read again the same.
fn status(json: &[u8]) {
    let Ok(status) = serde_json::from_slice::<Status>(json) else { return };
    let text = serde_json::to_vec(&status).expect("a status can always be written");
    let again = serde_json::from_slice::<Status>(&text).expect("what was written can be read");
    // Numbers that JSON shows in fewer digits settle after one writing.
    assert_eq!(serde_json::to_vec(&again).expect("a status can always be written"), text);
}
