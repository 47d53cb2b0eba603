//! What a generated Secret holds: a key or a password, and what an MQTT client needs to use it.
//!
//! A device may change its mechanisms. The Secret then gets what it lacks and keeps what it has: the key, because it may be
//! in the flash of a device, and the password, under another name, because a Secret for a key has a ready-made password.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use k8s_openapi::jiff::Timestamp;
use mqtt_access_core::bundle::{ClientIds, Spare};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, ModeUsername, password};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::token_key;

use super::Owner;
use super::referenced::check_text;
use crate::login::Password;
use crate::names::{GENERATED_LABEL, ROTATION_ANNOTATION, data};
use crate::rotation::{Held, Record};

/// What stands in a Secret for its owner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Its key or password.
    Held(Secret),
    /// Nothing, if and only if somebody took it out.
    Emptied,
    /// Nothing, if and only if the Secret was written for the other kind of proof and never held any of this kind.
    NeverHeld,
}

/// What a generated Secret was last written for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Key,
    Password,
}

/// The key or password that a generated Secret holds for its owner.
#[must_use]
pub(crate) fn content(owner: Owner<'_>, secret: &KubeSecret) -> Content {
    let (entry, other_form) = match (owner, form(secret)) {
        (Owner::Device { .. } | Owner::AccessKey { .. }, form) => {
            (data::ACCESS_KEY_SECRET, form == Some(Form::Password))
        }
        (Owner::Login { .. }, Some(Form::Key)) => (data::LOGIN_PASSWORD, true),
        (Owner::Login { .. }, _) => (data::PASSWORD, false),
    };
    match filled(secret, entry) {
        Some(bytes) => Content::Held(Secret::new(bytes.0.clone())),
        None if other_form => Content::NeverHeld,
        None => Content::Emptied,
    }
}

/// Whether a generated Secret was written for the other kind of proof.
#[must_use]
pub(crate) fn is_switched(owner: Owner<'_>, secret: &KubeSecret) -> bool {
    let own = if let Owner::Login { .. } = owner { Form::Password } else { Form::Key };
    form(secret).is_some_and(|form| form != own)
}

/// The label tells; without it, whose username it is. Where neither is known, it is the owner's own form.
fn form(secret: &KubeSecret) -> Option<Form> {
    let label = secret.metadata.labels.as_ref().and_then(|labels| labels.get(GENERATED_LABEL));
    match label.map(String::as_str) {
        Some("login") => return Some(Form::Password),
        Some("device" | "access-key") => return Some(Form::Key),
        _ => {}
    }
    let username = std::str::from_utf8(&filled(secret, data::USERNAME)?.0).ok()?;
    Some(if ModeUsername::parse(username).is_some() { Form::Key } else { Form::Password })
}

/// The key or password before the current one, with the end that the record gives it; without one it has none, and is none.
#[must_use]
pub(crate) fn previous_of(owner: Owner<'_>, secret: &KubeSecret) -> Option<Spare<Secret>> {
    let entry = match owner {
        Owner::Device { .. } | Owner::AccessKey { .. } => data::PREVIOUS_ACCESS_KEY_SECRET,
        // Beside a key it is a signature, made ready.
        Owner::Login { .. } if is_switched(owner, secret) => return None,
        Owner::Login { .. } => data::PREVIOUS_PASSWORD,
    };
    let Record { rotated_at: since, previous_valid_until, .. } = record_of(secret)?;
    let secret = Secret::new(filled(secret, entry)?.0.clone());
    Some(Spare { secret, since, until: previous_valid_until? })
}

/// The record of a generated Secret's rotations.
#[must_use]
pub(crate) fn record_of(secret: &KubeSecret) -> Option<Record> {
    Record::read(secret.metadata.annotations.as_ref()?.get(ROTATION_ANNOTATION)?)
}

/// The key or password of a generated Secret, and the one before it.
#[derive(Clone, Copy)]
pub(crate) struct Contents<'a> {
    current: &'a Secret,
    previous: Option<&'a Spare<Secret>>,
}

impl<'a> From<&'a Secret> for Contents<'a> {
    fn from(current: &'a Secret) -> Self {
        Self { current, previous: None }
    }
}

impl<'a> From<&'a Held<Secret>> for Contents<'a> {
    fn from(held: &'a Held<Secret>) -> Self {
        Self { current: &held.current, previous: held.previous.as_ref() }
    }
}

/// What a Secret ought to hold: the key or password, the one before it, and whatever of the present one has to be kept.
#[must_use]
pub(crate) fn generated_data(
    owner: Owner<'_>,
    instance_id: &str,
    contents: Contents<'_>,
    present: Option<&KubeSecret>,
) -> BTreeMap<String, ByteString> {
    let Contents { current: secret, previous } = contents;
    let plain = secret.expose().to_vec();
    let mut entries = vec![(data::INSTANCE_ID, instance_id.as_bytes().to_vec())];
    if let Some(key_id) = owner.key_id(instance_id) {
        let username = |mode| ModeUsername { mode, key_id: &key_id, instance_id }.to_string().into_bytes();
        let mode = if let Owner::AccessKey { .. } = owner { Mode::Signature } else { Mode::DeviceCredential };
        entries.push((data::USERNAME, username(mode)));
        entries.push((data::ACCESS_KEY_ID, key_id.clone().into_bytes()));
        entries.push((data::ACCESS_KEY_SECRET, plain.clone()));
    }
    match owner {
        Owner::Device { client_id } => {
            entries.push((data::CLIENT_ID, client_id.as_bytes().to_vec()));
            entries.push((data::PASSWORD, password(MacAlgorithm::HmacSha1, secret, client_id).into_bytes()));
        }
        Owner::Login { client_ids, name } => {
            let (entry, text) = match client_ids {
                ClientIds::One(one) => (data::CLIENT_ID, one),
                ClientIds::Prefix { prefix } => (data::CLIENT_ID_PREFIX, prefix),
            };
            entries.push((entry, text.as_bytes().to_vec()));
            entries.push((data::USERNAME, name.as_bytes().to_vec()));
            entries.push((data::PASSWORD, plain));
        }
        Owner::AccessKey { name: _ } => entries.push((data::TOKEN_KEY, token_key(secret).expose().to_vec())),
    }
    entries.extend(previous.into_iter().flat_map(|previous| outgoing(owner, previous)));
    entries.extend(present.into_iter().flat_map(|present| kept(owner, present)));
    entries.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value))).collect()
}

/// What clients need that have not changed over yet, and until when it is of use.
fn outgoing(owner: Owner<'_>, previous: &Spare<Secret>) -> Vec<(&'static str, Vec<u8>)> {
    let Spare { secret, since: _, until } = previous;
    let plain = || secret.expose().to_vec();
    let end = Timestamp::from_second(*until).map(|end| end.to_string().into_bytes()).unwrap_or_default();
    let (first, second) = match owner {
        Owner::Device { client_id } => {
            let signature = password(MacAlgorithm::HmacSha1, secret, client_id).into_bytes();
            ((data::PREVIOUS_ACCESS_KEY_SECRET, plain()), Some((data::PREVIOUS_PASSWORD, signature)))
        }
        Owner::Login { .. } => ((data::PREVIOUS_PASSWORD, plain()), None),
        Owner::AccessKey { .. } => {
            let token_key = token_key(secret).expose().to_vec();
            ((data::PREVIOUS_ACCESS_KEY_SECRET, plain()), Some((data::PREVIOUS_TOKEN_KEY, token_key)))
        }
    };
    [Some(first), second, Some((data::PREVIOUS_VALID_UNTIL, end))].into_iter().flatten().collect()
}

/// What a Secret holds for the other kind of proof.
fn kept(owner: Owner<'_>, present: &KubeSecret) -> Vec<(&'static str, Vec<u8>)> {
    let from = |entry: &str, to: &'static str| filled(present, entry).map(|bytes| (to, bytes.0.clone()));
    let kept = match (owner, form(present)) {
        (Owner::Device { .. }, Some(Form::Password)) => [from(data::PASSWORD, data::LOGIN_PASSWORD), None],
        (Owner::Device { .. }, _) => [from(data::LOGIN_PASSWORD, data::LOGIN_PASSWORD), None],
        (Owner::Login { .. }, _) => {
            [from(data::ACCESS_KEY_ID, data::ACCESS_KEY_ID), from(data::ACCESS_KEY_SECRET, data::ACCESS_KEY_SECRET)]
        }
        (Owner::AccessKey { .. }, _) => [None, None],
    };
    kept.into_iter().flatten().collect()
}

/// The password of a Secret that was generated: still the one that was made, or one that somebody put there.
pub(crate) fn own_password(plain: Secret) -> Result<Password, &'static str> {
    check_text(&plain)?;
    let is_random = plain.expose().len() == 43 && URL_SAFE_NO_PAD.decode(plain.expose()).is_ok();
    Ok(if is_random { Password::Generated(plain) } else { Password::Chosen(plain) })
}

/// Whether a Secret, by what it says itself, was made for this very owner. One that says nothing may be by hand.
#[must_use]
pub(crate) fn is_of(secret: &KubeSecret, owner: Owner<'_>, instance_id: &str) -> bool {
    let says = |key: &str, value: &str| {
        let found = secret.data.as_ref().and_then(|data| data.get(key));
        found.is_none_or(|found| found.0 == value.as_bytes())
    };
    let client = match owner {
        Owner::Device { client_id } => says(data::CLIENT_ID, client_id),
        Owner::Login { client_ids: ClientIds::One(one), name: _ } => says(data::CLIENT_ID, one),
        Owner::Login { client_ids: ClientIds::Prefix { prefix }, name: _ } => says(data::CLIENT_ID_PREFIX, prefix),
        Owner::AccessKey { .. } => true,
    };
    client && says(data::INSTANCE_ID, instance_id)
}

fn filled<'s>(secret: &'s KubeSecret, entry: &str) -> Option<&'s ByteString> {
    secret.data.as_ref()?.get(entry).filter(|bytes| !bytes.0.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Owner<'_> = Owner::Device { client_id: "dev1" };

    fn written(owner: Owner<'_>, secret: &Secret, present: Option<&KubeSecret>) -> KubeSecret {
        let data = generated_data(owner, "i", secret.into(), present);
        let mut secret = KubeSecret { data: Some(data), ..KubeSecret::default() };
        secret.metadata.labels = Some([(GENERATED_LABEL.to_owned(), owner.label().to_owned())].into());
        secret
    }

    #[test]
    fn a_device_that_changes_its_mechanisms_and_back_finds_what_it_had() {
        let client_ids = ClientIds::from("dev1");
        let login = Owner::Login { client_ids: &client_ids, name: "dev1" };
        let (key, plain) = (Secret::from("key"), Secret::from("a password"));
        let for_key = written(DEVICE, &key, None);
        assert_eq!(content(DEVICE, &for_key), Content::Held(key.clone()));
        assert_eq!(content(login, &for_key), Content::NeverHeld, "a ready-made signature is no password");
        let for_login = written(login, &plain, Some(&for_key));
        assert_eq!(content(login, &for_login), Content::Held(plain.clone()));
        assert_eq!(content(DEVICE, &for_login), Content::Held(key.clone()));
        let back = written(DEVICE, &key, Some(&for_login));
        assert_eq!(written(DEVICE, &key, Some(&back)).data, back.data);
        assert_eq!(content(login, &back), Content::Held(plain.clone()));
        assert_eq!(written(login, &plain, Some(&back)).data, for_login.data);
        // The same without the label.
        for mut secret in [for_key, back] {
            secret.metadata.labels = None;
            assert_ne!(content(login, &secret), Content::Emptied);
        }
    }

    #[test]
    fn what_was_taken_out_is_not_taken_for_what_was_never_there() {
        let client_ids = ClientIds::Prefix { prefix: "a-".to_owned() };
        let login = Owner::Login { client_ids: &client_ids, name: "alice" };
        for (owner, entry) in [(DEVICE, data::ACCESS_KEY_SECRET), (login, data::PASSWORD)] {
            let mut secret = written(owner, &Secret::from("a password"), None);
            secret.data.as_mut().unwrap().remove(entry);
            assert_eq!(content(owner, &secret), Content::Emptied);
            secret.data = None;
            assert_eq!(content(owner, &secret), Content::Emptied);
            secret.metadata.labels = None;
            assert_eq!(content(owner, &secret), Content::Emptied);
        }
        let for_login = written(login, &Secret::from("a password"), None);
        assert_eq!(content(DEVICE, &for_login), Content::NeverHeld);
        let entries: Vec<_> = for_login.data.unwrap().into_keys().collect();
        assert_eq!(entries, ["clientIdPrefix", "instanceId", "password", "username"]);
    }

    #[test]
    fn a_password_that_may_be_guessed_is_not_taken_for_a_generated_one() {
        let generated = super::super::generate().unwrap();
        assert!(matches!(own_password(generated), Ok(Password::Generated(_))));
        for chosen in ["correct horse", "0123456789012345678901234567890123456789=01", "01234567"] {
            assert!(matches!(own_password(Secret::from(chosen)), Ok(Password::Chosen(_))), "{chosen}");
        }
        for refused in ["short", "with a line break\n", "with a \0 in it"] {
            assert!(own_password(Secret::from(refused)).is_err(), "{refused}");
        }
    }
}
