//! Which namespaces the operator looks at.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Config, ConfigError};

impl Config {
    /// Whether the operator looks at a namespace at all.
    #[must_use]
    pub fn sees(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|seen| seen.iter().any(|seen| seen == namespace))
    }

    pub(super) fn check_scope(&self) -> Result<(), ConfigError> {
        let Some(namespaces) = &self.namespaces else { return Ok(()) };
        if namespaces.is_empty() {
            return Err(ConfigError::NoNamespace);
        }
        let mut known = BTreeSet::new();
        for (place, namespace) in namespaces.iter().enumerate() {
            if !is_label(namespace) {
                return Err(ConfigError::Name(format!("namespaces[{place}]")));
            }
            if !known.insert(namespace) {
                return Err(ConfigError::NamespaceRepeated(place));
            }
        }
        let selecting = |broker: &super::Broker| broker.tenant_namespace_selector != LabelSelector::default();
        match self.brokers.iter().position(selecting) {
            Some(place) => Err(ConfigError::Selector(place)),
            None => Ok(()),
        }
    }
}

/// What Kubernetes takes for the name of a namespace: lower-case letters, digits and inner hyphens, at most 63 of them.
pub(super) fn is_label(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 63 && name.starts_with(plain) && name.ends_with(plain) && name.chars().all(|c| plain(c) || c == '-')
}

/// What Kubernetes takes for most other names: such labels with dots between them, at most 253 bytes.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}
