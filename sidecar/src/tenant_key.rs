//! By what name a bundle goes: its Secret, its folder, and the tenant that its index must be of.

use std::fmt;
use std::str::FromStr;

use mqtt_access_core::bundle::Tenant;
use thiserror::Error;

/// Namespace and name of an `MqttTenant`; written `<namespace>.<name>`.
///
/// Neither holds a dot, so that the text reads back; neither holds anything that a file name may not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantKey {
    namespace: String,
    name: String,
}

/// Why a text names no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a bundle is not named `<namespace>.<tenant>`, both of lower-case letters, digits and `-`")]
pub struct TenantKeyError;

impl TenantKey {
    /// Checks both names.
    pub fn new(namespace: &str, name: &str) -> Result<Self, TenantKeyError> {
        let fits = |text: &str| {
            let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !text.is_empty() && text.len() <= 253 && text.bytes().all(label)
        };
        if !fits(namespace) || !fits(name) {
            return Err(TenantKeyError);
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// Whether an index is of this tenant: a bundle under another one's name would take its place.
    pub(crate) fn is_of(&self, tenant: &Tenant) -> bool {
        self.namespace == tenant.namespace && self.name == tenant.name
    }
}

impl FromStr for TenantKey {
    type Err = TenantKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('.').ok_or(TenantKeyError)?;
        Self::new(namespace, name)
    }
}

impl fmt::Display for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_can_name_a_folder() {
        let key: TenantKey = "shop.acme-1".parse().unwrap();
        assert_eq!(key, TenantKey::new("shop", "acme-1").unwrap());
        assert_eq!(key.to_string(), "shop.acme-1");
        for wrong in ["", "shop", "shop.", ".acme", "shop.acme.x", "../x", "..", "shop./x", "Shop.acme", "logins"] {
            assert_eq!(wrong.parse::<TenantKey>(), Err(TenantKeyError), "{wrong}");
        }
    }
}
