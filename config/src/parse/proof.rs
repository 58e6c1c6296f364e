//! How names are proved in a connection: ours to peers, and theirs to us. One way for each side; a shared key can be both.
//!
//! | keys | we prove our name by | peers prove theirs by |
//! | --- | --- | --- |
//! | `psk` | the key | the key |
//! | `psk`, `ca` | the key | a certificate |
//! | `certificate`, `psk` | a certificate | the key |
//! | `certificate`, `ca` | a certificate | a certificate |
//! | `certificate`, `eap` | a certificate | a password |
//!
//! Files are only named here: whether they hold what they should is for those to say who read them.

use std::path::{Path, PathBuf};

use super::beside;
use super::ike::{CONNECTION, SOME_OR_ABSENT, some};
use super::ipsec::secret;
use crate::defaults;
use crate::problem::{Kind, Problems, Span};
use crate::read::{At, Reading, Section};
use crate::schema::{OwnProof, PeersProof};
use crate::secret::Secret;

/// Both sides' ways.
pub(super) struct Proofs {
    pub(super) own: OwnProof,
    pub(super) peers: PeersProof,
    /// Where it says that peers are asked for a password.
    pub(super) asks: Option<Span>,
}

/// What a connection says of proofs.
struct Given {
    psk: Option<At<Secret>>,
    /// The certificate's file and the key's.
    certificate: Option<(PathBuf, PathBuf)>,
    ca: Option<At<Vec<PathBuf>>>,
    crl: Option<At<Vec<PathBuf>>>,
    eap: Option<At<()>>,
}

pub(super) fn proofs(problems: &mut Problems<'_>, s: &mut Section<'_, '_>, file: &Path) -> Option<Proofs> {
    let psk = shared_key(problems, s);
    let certificate = certificate(problems, s, file);
    let ca = s.optional(problems, "ca", |r| files(r, "[\"clients-ca.pem\"]", file));
    let crl = s.optional(problems, "crl", |r| files(r, "[\"clients.crl\"]", file));
    let eap = s.optional(problems, "eap", |r| r.word(&[("mschapv2", ())]));
    let section = s.span.clone();
    let given = Given { psk: psk?, certificate: certificate?, ca: ca?, crl: crl?, eap: eap? };
    if let Some((span, what, fix)) = given.contradiction() {
        problems.add(span, Kind::Contradiction, format!("{CONNECTION} {what}"), fix);
        return None;
    }
    if let Some((what, fix)) = given.lack() {
        problems.add(&section, Kind::MissingKey, format!("{CONNECTION} {what}"), fix);
        return None;
    }
    given.finish()
}

impl Given {
    /// Where, what, and what to do.
    fn contradiction(&self) -> Option<(&Span, &'static str, &'static str)> {
        let Self { psk, certificate, ca, crl, eap } = self;
        match (psk, certificate, ca, crl, eap) {
            (_, _, None, Some(crl), _) => Some((
                &crl.span,
                "`crl` says which certificates are void, and there is no `ca` whose ones could be",
                "add `ca`, or remove `crl`",
            )),
            (_, _, Some(_), _, Some(eap)) => Some((
                &eap.span,
                "has both `ca` and `eap`: two ways for peers to prove their names",
                "remove one; another connection can have it",
            )),
            (_, None, _, _, Some(eap)) => Some((
                &eap.span,
                "`eap` needs `certificate`: clients must know whom they tell their password",
                "add `certificate` and `private_key`, and remove `psk` if it is there",
            )),
            (Some(psk), Some(_), ca, _, eap) if ca.is_some() || eap.is_some() => Some((
                &psk.span,
                "has a shared key that nobody proves a name by: we do by `certificate`, and peers by `ca` or `eap`",
                "remove it, or what is there instead of it",
            )),
            _ => None,
        }
    }

    /// What is missing, and what to do.
    const fn lack(&self) -> Option<(&'static str, &'static str)> {
        let peers = self.ca.is_some() || self.eap.is_some();
        match (&self.psk, &self.certificate) {
            (None, None) if peers => {
                Some(("does not say how we prove our name", "add `certificate` and `private_key`, or `psk`"))
            }
            (None, None) => Some((
                "says nothing of how names are proved",
                "add a line such as `psk = \"a long text that nobody can guess\"`, or `certificate`, `private_key` and `ca`",
            )),
            (None, Some(_)) if !peers => Some((
                "does not say how peers prove their names",
                "add a line such as `ca = [\"clients-ca.pem\"]`, `eap = \"mschapv2\"`, or `psk`",
            )),
            _ => None,
        }
    }

    fn finish(self) -> Option<Proofs> {
        let psk = self.psk.map(|psk| psk.value);
        let peers = match (self.ca, &self.eap) {
            (Some(ca), _) => {
                PeersProof::Certificate { ca: ca.value, crl: self.crl.map(|crl| crl.value).unwrap_or_default() }
            }
            (None, Some(_)) => PeersProof::Password,
            (None, None) => PeersProof::SharedKey(psk.clone()?),
        };
        let own = match self.certificate {
            Some((certificate, private_key)) => OwnProof::Certificate { certificate, private_key },
            None => OwnProof::SharedKey(psk?),
        };
        Some(Proofs { own, peers, asks: self.eap.map(|eap| eap.span) })
    }
}

/// `psk`, or `psk_hex`; what is wrong with it is told without showing it.
fn shared_key(problems: &mut Problems<'_>, s: &mut Section<'_, '_>) -> Option<Option<At<Secret>>> {
    let text = s.optional(problems, "psk", |r| {
        let text = r.filled()?;
        let least = defaults::PSK_CHARACTERS_SENSIBLE_MIN;
        if text.chars().count() < least {
            let fix = format!("use at least {least} characters that nobody can guess");
            r.warn(
                format!("it has fewer than {least} characters: who hears one exchange can try keys at leisure"),
                fix,
            );
        }
        Some(Secret::of_text(text))
    });
    let hex = s.optional(problems, "psk_hex", |r| {
        let key = secret(r)?;
        let least = defaults::PSK_BYTES_SENSIBLE_MIN;
        if key.expose().is_empty() {
            return r.refuse("it is empty", "fill it in");
        }
        if key.expose().len() < least {
            let fix = format!("use at least {least} random bytes");
            r.warn(format!("it has fewer than {least} bytes: who hears one exchange can try keys at leisure"), fix);
        }
        Some(key)
    });
    match (text?, hex?) {
        (Some(_), Some(hex)) => {
            let what = format!("{CONNECTION} has both `psk` and `psk_hex`");
            problems.add(&hex.span, Kind::Contradiction, what, "remove one: they are two ways to write one key");
            None
        }
        (text, hex) => Some(text.or(hex)),
    }
}

/// `certificate` and `private_key`: both, or neither.
fn certificate(
    problems: &mut Problems<'_>,
    s: &mut Section<'_, '_>,
    file: &Path,
) -> Option<Option<(PathBuf, PathBuf)>> {
    let certificate = s.optional(problems, "certificate", |r| r.filled());
    let private_key = s.optional(problems, "private_key", |r| r.filled());
    let (there, key, lacking, example) = match (certificate?, private_key?) {
        (None, None) => return Some(None),
        (Some(certificate), Some(key)) => {
            return Some(Some((beside(file, &certificate.value), beside(file, &key.value))));
        }
        (Some(certificate), None) => (certificate, "certificate", "private_key", "gw-key.pem"),
        (None, Some(key)) => (key, "private_key", "certificate", "gw.pem"),
    };
    let what = format!("{CONNECTION} has `{key}`, and no `{lacking}`");
    problems.add(&there.span, Kind::MissingKey, what, format!("add a line such as `{lacking} = \"{example}\"`"));
    None
}

fn files(r: &mut Reading<'_, '_, '_>, example: &str, file: &Path) -> Option<Vec<PathBuf>> {
    some(r, example, defaults::IKE_FILES_MAX, SOME_OR_ABSENT, |r| r.filled().map(|path| beside(file, &path)))
}
