//! The operator's configuration: which brokers it serves, and who may attach tenants to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use thiserror::Error;

use crate::manifest::yaml;

/// What `--config FILE` holds. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The brokers; a tenant that names another one is not served.
    pub brokers: Vec<Broker>,
    /// Where `run` issues tokens; nowhere when absent, and in no other command.
    #[serde(default)]
    pub token_service: Option<TokenService>,
}

/// The HTTPS API that issues tokens and registers devices.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenService {
    /// Address and port, such as `0.0.0.0:8443`.
    pub listen: SocketAddr,
    /// A folder with `tls.crt` and `tls.key`: a mounted Secret of the type `kubernetes.io/tls`. Read again when it changes.
    pub certificate: PathBuf,
}

/// One broker, or one cluster of brokers that share their clients.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Broker {
    /// What `spec.broker` of a tenant says.
    pub name: String,
    /// The namespace that its sidecars read. No two brokers share one.
    pub bundle_namespace: String,
    /// Which namespaces may hold its tenants; `{}` means all.
    pub tenant_namespace_selector: LabelSelector,
    /// Whether tenants may own topics whose first level begins with `$`. Not for RabbitMQ, where a leading wildcard of
    /// another tenant reaches them.
    #[serde(default)]
    pub allow_dollar_topics: bool,
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file `{0}`")]
    Read(String, #[source] std::io::Error),
    /// The file is not a configuration.
    #[error("the configuration file `{0}` is not valid")]
    Yaml(String, #[source] yaml::YamlError),
    /// The file has other keys than a configuration.
    #[error("the configuration file `{0}` is not valid")]
    Keys(String, #[source] serde_json::Error),
    /// The file holds nothing, or several documents.
    #[error("the configuration file `{0}` must be one YAML document")]
    Documents(String),
    /// Two brokers would be one.
    #[error("brokers[{0}] repeats the name or the bundle namespace of an earlier broker; give it its own")]
    Repeated(usize),
    /// A name that Kubernetes would refuse.
    #[error("brokers[{0}] has an empty name or bundle namespace; set both")]
    Empty(usize),
    /// No broker at all.
    #[error("`brokers` is empty; list at least one broker")]
    NoBroker,
}

impl Default for Config {
    fn default() -> Self {
        let broker = Broker {
            name: "default".to_owned(),
            bundle_namespace: "mqtt-access-mqtt-access-bundles".to_owned(),
            tenant_namespace_selector: LabelSelector::default(),
            allow_dollar_topics: false,
        };
        Self { brokers: vec![broker], token_service: None }
    }
}

impl Config {
    /// Reads and checks a configuration file; without one there is a single broker `default`.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read(shown.clone(), error))?;
        let mut documents = yaml::documents(&text).into_iter();
        let (Some(document), None) = (documents.next(), documents.next()) else {
            return Err(ConfigError::Documents(shown));
        };
        let document = document.map_err(|error| ConfigError::Yaml(shown.clone(), error))?;
        let config: Self = serde_json::from_value(document).map_err(|error| ConfigError::Keys(shown, error))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.brokers.is_empty() {
            return Err(ConfigError::NoBroker);
        }
        let (mut names, mut namespaces) = (BTreeSet::new(), BTreeSet::new());
        for (place, broker) in self.brokers.iter().enumerate() {
            if broker.name.is_empty() || broker.bundle_namespace.is_empty() {
                return Err(ConfigError::Empty(place));
            }
            if !names.insert(&broker.name) || !namespaces.insert(&broker.bundle_namespace) {
                return Err(ConfigError::Repeated(place));
            }
        }
        Ok(())
    }

    /// The broker of that name.
    #[must_use]
    pub fn broker(&self, name: &str) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.name == name)
    }

    /// Whether any broker looks at the labels of namespaces.
    #[must_use]
    pub fn needs_namespaces(&self) -> bool {
        self.brokers.iter().any(|broker| broker.tenant_namespace_selector != LabelSelector::default())
    }
}

impl Broker {
    /// Whether a namespace with these labels may hold tenants of this broker.
    #[must_use]
    pub fn admits(&self, labels: &BTreeMap<String, String>) -> bool {
        use kube::core::SelectorExt as _;
        let selector: Result<kube::core::Selector, _> = self.tenant_namespace_selector.clone().try_into();
        selector.is_ok_and(|selector| selector.matches(labels))
    }
}
