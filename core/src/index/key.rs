//! The key of an access key or a device, whatever it is proved with: what a login and every later request look at.

use super::known::DeviceAudiences;
use crate::bundle::{AccessKey, Device, KeyUse, LoginName, UnixSeconds};
use crate::client::Mode;
use crate::password::Verifier;
use crate::scram;
use crate::secret::Secret;

/// How many secrets of one key can be accepted at once: the current one, the one before and the next.
pub(super) const MAX_ACCEPTED: usize = 3;

/// A secret that is accepted at some moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted<'i, S> {
    pub(super) secret: &'i S,
    /// When sessions that began with it end.
    pub(super) ends: Option<UnixSeconds>,
}

impl<'i, S> From<(&'i S, Option<UnixSeconds>)> for Accepted<'i, S> {
    fn from((secret, ends): (&'i S, Option<UnixSeconds>)) -> Self {
        Self { secret, ends }
    }
}

/// The key that a client proved, or wants to prove, to have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'i> {
    Access(&'i AccessKey),
    Device(&'i Device, &'i DeviceAudiences),
}

impl<'i> Key<'i> {
    pub(super) fn secret(self) -> Option<&'i Secret> {
        let secret = match self {
            Self::Access(key) => key.secret.as_ref(),
            Self::Device(device, _) => device.secret.as_ref(),
        };
        secret.filter(|secret| !secret.expose().is_empty())
    }

    /// The secrets that prove a signature or a token now: the current one first, if there is any at all. What is accepted
    /// beside it goes with it.
    pub(super) fn secrets(self, now: UnixSeconds) -> impl Iterator<Item = Accepted<'i, Secret>> {
        let spares = match self {
            Self::Access(key) => &key.spares,
            Self::Device(device, _) => &device.spares,
        };
        spares.secrets(self.secret(), now).map(Accepted::from)
    }

    /// What passwords may be compared with now: the current verifier first, if there is any at all.
    pub(super) fn verifiers(self, now: UnixSeconds) -> impl Iterator<Item = Accepted<'i, Verifier>> {
        let login = self.login();
        let accepted = login.into_iter().flat_map(move |login| login.spares.beside(login.password.as_ref(), now));
        accepted.map(Accepted::from)
    }

    /// What marks the logins of a mode that are in force: it differs for every secret.
    pub(super) fn marks(self, mode: Mode, now: UnixSeconds) -> Vec<&'i [u8]> {
        match mode {
            Mode::Signature | Mode::DeviceCredential | Mode::Token => {
                self.secrets(now).map(|accepted| accepted.secret.expose()).collect()
            }
            Mode::Scram => self.scram().map(|keys| keys.stored_key.expose()).into_iter().collect(),
            Mode::Password => self.verifiers(now).map(|accepted| accepted.secret.mark()).collect(),
        }
    }

    pub(super) fn scram(self) -> Option<&'i scram::Keys> {
        self.login()?.scram.as_ref()
    }

    pub(super) fn verifier(self) -> Option<&'i Verifier> {
        self.login()?.password.as_ref()
    }

    fn login(self) -> Option<&'i LoginName> {
        match self {
            Self::Access(_) => None,
            Self::Device(device, _) => device.login.as_ref(),
        }
    }

    pub(super) fn expires_at(self) -> Option<UnixSeconds> {
        match self {
            Self::Access(_) => None,
            Self::Device(device, _) => device.expires_at,
        }
    }
}

/// Whether the proof fixes the client ID: a MAC covers it, a credential has just one, tokens are bound to it.
pub(super) fn proves_client_id(key: Key<'_>, mode: Mode, bound: bool) -> bool {
    match (key, mode) {
        (Key::Device(device, _), _) => device.client_id.one().is_some(),
        (Key::Access(_), Mode::Signature) => true,
        (Key::Access(_), _) => bound,
    }
}

/// The mode whose audiences are found in advance.
pub(super) fn usual_mode(device: &Device) -> Mode {
    match &device.login {
        None => Mode::DeviceCredential,
        Some(login) if login.password.is_some() => Mode::Password,
        Some(_) => Mode::Scram,
    }
}

/// A key that may only issue tokens still lets those in that were issued with it.
pub(super) fn may_connect(key: &AccessKey, mode: Mode) -> bool {
    key.uses.contains(&KeyUse::Connect) || (mode == Mode::Token && key.uses.contains(&KeyUse::IssueTokens))
}
