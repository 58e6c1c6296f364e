//! The bodies of payloads, each as its section of RFC 7296 draws it. Those with an inner structure have a file of their
//! own: `sa`, `selectors`, `configuration`.

use super::bytes::{Reader, len_u8, len_u16};
use super::limits::SPIS_MAX;
use super::{Identity, Malformed, Notify, Payload, configuration, kind, sa, selectors};

impl Payload {
    /// Its number (section 3.2).
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Sa(_) => kind::SA,
            Self::KeyExchange { .. } => kind::KEY_EXCHANGE,
            Self::IdInitiator(_) => kind::ID_INITIATOR,
            Self::IdResponder(_) => kind::ID_RESPONDER,
            Self::Certificate { .. } => kind::CERTIFICATE,
            Self::CertificateRequest { .. } => kind::CERTIFICATE_REQUEST,
            Self::Auth { .. } => kind::AUTH,
            Self::Nonce(_) => kind::NONCE,
            Self::Notify(_) => kind::NOTIFY,
            Self::Delete { .. } => kind::DELETE,
            Self::VendorId(_) => kind::VENDOR_ID,
            Self::SelectorsInitiator(_) => kind::SELECTORS_INITIATOR,
            Self::SelectorsResponder(_) => kind::SELECTORS_RESPONDER,
            Self::Configuration { .. } => kind::CONFIGURATION,
            Self::Eap(_) => kind::EAP,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

/// `critical` counts for kinds that are not known only (section 2.5).
pub(super) fn parse(kind: u8, critical: bool, body: &[u8]) -> Result<Payload, Malformed> {
    let mut reader = Reader::new(body);
    Ok(match kind {
        kind::SA => Payload::Sa(sa::parse(body)?),
        kind::KEY_EXCHANGE => {
            let (group, _reserved) = (reader.u16()?, reader.u16()?);
            Payload::KeyExchange { group, public: reader.rest().to_vec() }
        }
        kind::ID_INITIATOR => Payload::IdInitiator(identity(reader)?),
        kind::ID_RESPONDER => Payload::IdResponder(identity(reader)?),
        kind::CERTIFICATE => Payload::Certificate { encoding: reader.u8()?, data: reader.rest().to_vec() },
        kind::CERTIFICATE_REQUEST => {
            Payload::CertificateRequest { encoding: reader.u8()?, authorities: reader.rest().to_vec() }
        }
        kind::AUTH => {
            let (method, data) = typed(reader)?;
            Payload::Auth { method, data }
        }
        kind::NONCE => Payload::Nonce(body.to_vec()),
        kind::NOTIFY => Payload::Notify(notify(reader)?),
        kind::DELETE => delete(reader)?,
        kind::VENDOR_ID => Payload::VendorId(body.to_vec()),
        kind::SELECTORS_INITIATOR => Payload::SelectorsInitiator(selectors::parse(body)?),
        kind::SELECTORS_RESPONDER => Payload::SelectorsResponder(selectors::parse(body)?),
        kind::CONFIGURATION => configuration::parse(body)?,
        kind::EAP => Payload::Eap(body.to_vec()),
        kind::SEALED | kind::FRAGMENT => return Err(Malformed::Value("sealed payload's place")),
        _ => Payload::Unknown { kind, critical },
    })
}

/// A byte that says what it is, three that say nothing, and it.
fn typed(mut reader: Reader<'_>) -> Result<(u8, Vec<u8>), Malformed> {
    let (kind, [_, _, _]) = (reader.u8()?, reader.array()?);
    Ok((kind, reader.rest().to_vec()))
}

fn identity(reader: Reader<'_>) -> Result<Identity, Malformed> {
    let (kind, data) = typed(reader)?;
    Ok(Identity { kind, data })
}

fn notify(mut reader: Reader<'_>) -> Result<Notify, Malformed> {
    let (protocol, spi_len, kind) = (reader.u8()?, usize::from(reader.u8()?), reader.u16()?);
    let spi = reader.take(spi_len)?.to_vec();
    Ok(Notify { protocol, spi, kind, data: reader.rest().to_vec() })
}

/// The IKE SA has no SPI here; what number of them is said then does not matter.
fn delete(mut reader: Reader<'_>) -> Result<Payload, Malformed> {
    let (protocol, spi_len, count) = (reader.u8()?, reader.u8()?, usize::from(reader.u16()?));
    let count = match spi_len {
        0 => 0,
        4 if count > SPIS_MAX => return Err(Malformed::TooMany("SPIs")),
        4 => count,
        _ => return Err(Malformed::Value("SPI length")),
    };
    let spis = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(Payload::Delete { protocol, spis })
}

/// Appends the body.
pub(super) fn emit(payload: &Payload, out: &mut Vec<u8>) {
    match payload {
        Payload::Sa(proposals) => sa::emit(proposals, out),
        Payload::KeyExchange { group, public } => {
            out.extend_from_slice(&group.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(public);
        }
        Payload::IdInitiator(Identity { kind, data })
        | Payload::IdResponder(Identity { kind, data })
        | Payload::Auth { method: kind, data } => {
            out.extend_from_slice(&[*kind, 0, 0, 0]);
            out.extend_from_slice(data);
        }
        Payload::Certificate { encoding, data } | Payload::CertificateRequest { encoding, authorities: data } => {
            out.push(*encoding);
            out.extend_from_slice(data);
        }
        Payload::Nonce(data) | Payload::VendorId(data) | Payload::Eap(data) => out.extend_from_slice(data),
        Payload::Notify(Notify { protocol, spi, kind, data }) => {
            out.extend_from_slice(&[*protocol, len_u8(spi.len())]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(spi);
            out.extend_from_slice(data);
        }
        Payload::Delete { protocol, spis } => {
            let spi_len = if *protocol == super::protocol::IKE && spis.is_empty() { 0 } else { 4 };
            out.extend_from_slice(&[*protocol, spi_len]);
            out.extend_from_slice(&len_u16(spis.len()).to_be_bytes());
            spis.iter().for_each(|spi| out.extend_from_slice(&spi.to_be_bytes()));
        }
        Payload::SelectorsInitiator(list) | Payload::SelectorsResponder(list) => selectors::emit(list, out),
        Payload::Configuration { kind, attributes } => configuration::emit(*kind, attributes, out),
        Payload::Unknown { .. } => {}
    }
}
