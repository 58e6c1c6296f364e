//! Numbers that the parser itself needs.

/// What an SA is of (RFC 7296 section 3.3.1).
pub mod protocol {
    /// IKE.
    pub const IKE: u8 = 1;
    /// AH.
    pub const AH: u8 = 2;
    /// ESP.
    pub const ESP: u8 = 3;
}

/// Kinds of payloads (RFC 7296 section 3.2, RFC 7383).
pub(super) mod kind {
    /// No further payload.
    pub(in crate::wire) const NONE: u8 = 0;
    pub(in crate::wire) const SA: u8 = 33;
    pub(in crate::wire) const KEY_EXCHANGE: u8 = 34;
    pub(in crate::wire) const ID_INITIATOR: u8 = 35;
    pub(in crate::wire) const ID_RESPONDER: u8 = 36;
    pub(in crate::wire) const CERTIFICATE: u8 = 37;
    pub(in crate::wire) const CERTIFICATE_REQUEST: u8 = 38;
    pub(in crate::wire) const AUTH: u8 = 39;
    pub(in crate::wire) const NONCE: u8 = 40;
    pub(in crate::wire) const NOTIFY: u8 = 41;
    pub(in crate::wire) const DELETE: u8 = 42;
    pub(in crate::wire) const VENDOR_ID: u8 = 43;
    pub(in crate::wire) const SELECTORS_INITIATOR: u8 = 44;
    pub(in crate::wire) const SELECTORS_RESPONDER: u8 = 45;
    /// Payloads to be opened.
    pub(in crate::wire) const SEALED: u8 = 46;
    pub(in crate::wire) const CONFIGURATION: u8 = 47;
    pub(in crate::wire) const EAP: u8 = 48;
    /// A piece of them.
    pub(in crate::wire) const FRAGMENT: u8 = 53;
}
