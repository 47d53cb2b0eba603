//! Secrets that hold credentials: what stands in a generated one, and how any of them is read.

mod generated;
mod referenced;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mqtt_access_core::bundle::ClientIds;
use mqtt_access_core::credential::{access_key_id, device_key_id};
use mqtt_access_core::secret::Secret;
use zeroize::Zeroizing;

use crate::compile::{Key, KeyProblem};

pub(crate) use generated::{
    Content, content, generated_data, is_of, is_switched, own_password, previous_of, record_of,
};
pub(crate) use referenced::{is_too_costly, read_key, read_password, too_costly};

/// Whose key or password a generated Secret holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// A device that signs its client ID.
    Device {
        /// `spec.clientId`
        client_id: &'a str,
    },
    /// A device, person or service with a login name and a password.
    Login {
        /// Which client IDs it opens.
        client_ids: &'a ClientIds,
        /// The login name.
        name: &'a str,
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
            Self::Login { .. } => "login",
            Self::AccessKey { .. } => "access-key",
        }
    }

    /// The default ID of its key; a password has none.
    fn key_id(self, instance_id: &str) -> Option<String> {
        match self {
            Self::Device { client_id } => Some(device_key_id(instance_id, client_id)),
            Self::AccessKey { name } => Some(access_key_id(instance_id, name)),
            Self::Login { .. } => None,
        }
    }
}

/// Why there is no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

/// A new key or password: 256 bits from the operating system, as base64url text.
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

/// A key that is not there.
#[must_use]
pub(crate) fn problem(reason: KeyProblem, message: String) -> Key {
    Key::Problem { reason, message }
}
