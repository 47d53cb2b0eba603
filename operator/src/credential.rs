//! Secrets that hold credentials: what stands in a generated one, and how any of them is read.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, ModeUsername, access_key_id, device_key_id, password};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::token_key;
use zeroize::Zeroizing;

use crate::compile::{Key, KeyProblem};
use crate::names::{CREDENTIAL_LABEL, GENERATED_LABEL, data};

/// Whose key a generated Secret holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// A device: its client ID.
    Device {
        /// `spec.clientId`
        client_id: &'a str,
    },
    /// An access key: its name in the tenant's spec.
    AccessKey {
        /// `spec.accessKeys[].name`
        name: &'a str,
    },
}

impl Owner<'_> {
    /// Value of the label on its Secret.
    #[must_use]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Device { .. } => "device",
            Self::AccessKey { .. } => "access-key",
        }
    }

    /// The default ID of its key.
    #[must_use]
    pub(crate) fn key_id(self, instance_id: &str) -> String {
        match self {
            Self::Device { client_id } => device_key_id(instance_id, client_id),
            Self::AccessKey { name } => access_key_id(instance_id, name),
        }
    }

    fn mode(self) -> Mode {
        match self {
            Self::Device { .. } => Mode::DeviceCredential,
            Self::AccessKey { .. } => Mode::Signature,
        }
    }
}

/// Why there is no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

/// A new key: 256 bits from the operating system, as base64url text.
pub(crate) fn generate() -> Result<Secret, NoRandomness> {
    let bytes = random()?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()).into_bytes()))
}

/// 32 random bytes.
pub(crate) fn random() -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let mut bytes = Zeroizing::new(vec![0; 32]);
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// What a generated Secret holds: the key, and what an MQTT client needs to use it.
#[must_use]
pub(crate) fn generated_data(owner: Owner<'_>, instance_id: &str, secret: &Secret) -> BTreeMap<String, ByteString> {
    let key_id = owner.key_id(instance_id);
    let username = ModeUsername { mode: owner.mode(), key_id: &key_id, instance_id }.to_string();
    let mut entries = vec![
        (data::ACCESS_KEY_ID, key_id.clone().into_bytes()),
        (data::ACCESS_KEY_SECRET, secret.expose().to_vec()),
        (data::INSTANCE_ID, instance_id.as_bytes().to_vec()),
        (data::USERNAME, username.into_bytes()),
    ];
    match owner {
        Owner::Device { client_id } => {
            entries.push((data::CLIENT_ID, client_id.as_bytes().to_vec()));
            entries.push((data::PASSWORD, password(MacAlgorithm::HmacSha1, secret, client_id).into_bytes()));
        }
        Owner::AccessKey { name: _ } => entries.push((data::TOKEN_KEY, token_key(secret).expose().to_vec())),
    }
    entries.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value))).collect()
}

/// The `accessKeySecret` of a Secret; `None` where it is missing or empty.
#[must_use]
pub(crate) fn secret_of(secret: &KubeSecret) -> Option<Secret> {
    let bytes = &secret.data.as_ref()?.get(data::ACCESS_KEY_SECRET)?.0;
    (!bytes.is_empty()).then(|| Secret::new(bytes.clone()))
}

/// Reads a Secret that a resource refers to.
#[must_use]
pub(crate) fn read_reference(name: &str, secret: &KubeSecret) -> Key {
    let labels = secret.metadata.labels.as_ref();
    let labelled = |label: &str| labels.and_then(|labels| labels.get(label));
    let invalid = |text: &str| problem(KeyProblem::Invalid, format!("the Secret `{name}` {text}"));
    if labelled(GENERATED_LABEL).is_some() {
        return invalid("was generated for another resource; refer to a Secret of your own");
    }
    if labelled(CREDENTIAL_LABEL).is_none_or(|value| value != "true") {
        return invalid("lacks the label `mqttaccess.io/credential: \"true\"`; set it to say that it may be used");
    }
    let Some(key) = secret_of(secret) else { return invalid("has no `accessKeySecret`; put the key there") };
    match key_id(secret) {
        Ok(id) => Key::Ready { id, secret: key, secret_name: name.to_owned() },
        Err(()) => {
            invalid("has an `accessKeyId` that is not 1 to 128 bytes without `|`, white space and control characters")
        }
    }
}

fn key_id(secret: &KubeSecret) -> Result<Option<String>, ()> {
    let Some(id) = secret.data.as_ref().and_then(|data| data.get(data::ACCESS_KEY_ID)) else { return Ok(None) };
    let id = std::str::from_utf8(&id.0).map_err(|_| ())?;
    let fits =
        !id.is_empty() && id.len() <= 128 && !id.contains(|c: char| c == '|' || c.is_whitespace() || c.is_control());
    if fits { Ok(Some(id.to_owned())) } else { Err(()) }
}

/// A key that is not there.
#[must_use]
pub(crate) fn problem(reason: KeyProblem, message: String) -> Key {
    Key::Problem { reason, message }
}
