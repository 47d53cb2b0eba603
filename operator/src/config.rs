//! The operator's configuration: which brokers it serves, and who may attach tenants to them.

mod election;
mod scope;
mod session_expiry;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use mqtt_access_core::acl_file::{File, Language};
use mqtt_access_core::bundle::AclDelivery;
use mqtt_access_core::scram::{MAX_ITERATIONS, MIN_ITERATIONS, ScramAlgorithm, ScramSettings};
use serde::Deserialize;
use thiserror::Error;

use crate::manifest::yaml;
pub use election::LeaderElection;
pub use session_expiry::SessionExpiry;

/// What `--config FILE` holds. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The brokers; a tenant that names another one is not served.
    pub brokers: Vec<Broker>,
    /// Where `run` issues tokens; nowhere when absent, and in no other command.
    #[serde(default)]
    pub token_service: Option<TokenService>,
    /// Which of several replicas works, in `run`. Left out: there is one process, and it works.
    #[serde(default)]
    pub leader_election: Option<LeaderElection>,
    /// The only namespaces whose objects are looked at, each by watches of its own, for which the rights of a Role in it
    /// suffice. Left out: all namespaces.
    #[serde(default)]
    pub namespaces: Option<Vec<String>>,
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

/// The longest grace for last wills. A client whose session the broker has not ended yet has these seconds too.
const MAX_WILL_GRACE_SECONDS: u8 = 60;

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
    /// What it announces to clients that log in with SCRAM: one value for all of them, so it must equal the broker's own
    /// configuration. A change derives the keys of every such client anew.
    #[serde(default)]
    pub scram: Scram,
    /// How it learns what its clients may do: `Http` (it asks at each publish and subscription) or `Inline` (the login
    /// reply tells; EMQX 5.8 and later).
    #[serde(default)]
    pub acl_delivery: AclDelivery,
    /// Whose ACL files are compiled for it. Left out: all, for information. Listed: what such a file cannot say is a finding.
    #[serde(default)]
    pub acl_files: Option<Vec<Language>>,
    /// Seconds, at most 60, in which a session that has expired may still publish: EMQX judges last wills only after the
    /// expiry, so that without this they are lost. Only for EMQX that asks over HTTP (`aclDelivery: Http`).
    #[serde(default)]
    pub will_grace_seconds: u8,
    /// How long it keeps the session of a client that is gone, such as `2h`: for so long nobody logs in with the client ID of a
    /// credential that was deleted. `broker-config` prints it as the broker's own setting. Left out, or `0`: no client ID
    /// waits.
    #[serde(default)]
    pub session_expiry: SessionExpiry,
}

/// The SCRAM settings of a broker: SHA-256 with 4096 iterations unless told otherwise, as EMQX has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scram {
    /// `Sha256` or `Sha512`.
    pub algorithm: ScramAlgorithm,
    /// Rounds of PBKDF2: 4096 to 1000000.
    pub iterations: u32,
}

impl Broker {
    /// Whether it is listed that the broker reads files in a language: not where they are compiled for information.
    #[must_use]
    pub fn reads(&self, language: Language) -> bool {
        self.acl_files.as_ref().is_some_and(|listed| listed.contains(&language))
    }
}

impl Default for Scram {
    fn default() -> Self {
        let ScramSettings { algorithm, iterations } = ScramSettings::default();
        Self { algorithm, iterations }
    }
}

impl From<Scram> for ScramSettings {
    fn from(scram: Scram) -> Self {
        let Scram { algorithm, iterations } = scram;
        Self { algorithm, iterations }
    }
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
    /// A login would be too cheap to attack, or too slow.
    #[error(
        "brokers[{0}].scram.iterations is not within {MIN_ITERATIONS} to {MAX_ITERATIONS}; set what the broker has"
    )]
    Iterations(usize),
    /// A grace that would be too long, or would do nothing.
    #[error(
        "brokers[{0}].willGraceSeconds is not within 0 to {MAX_WILL_GRACE_SECONDS}, or is set with `aclDelivery: Inline`, where EMQX asks nothing; correct it"
    )]
    WillGrace(usize),
    /// No broker at all.
    #[error("`brokers` is empty; list at least one broker")]
    NoBroker,
    /// Nothing would be looked at.
    #[error("`namespaces` is empty; list at least one, or leave it out to look at all of them")]
    NoNamespace,
    /// A namespace is listed twice.
    #[error("namespaces[{0}] repeats an earlier one; list it once")]
    NamespaceRepeated(usize),
    /// The labels of namespaces are nothing that a Role lets anybody see.
    #[error("brokers[{0}].tenantNamespaceSelector must be `{{}}` beside `namespaces`; the list is the choice")]
    Selector(usize),
    /// Not what Kubernetes takes for a name.
    #[error("`{0}` is no name in Kubernetes; use lower-case letters, digits and inner hyphens")]
    Name(String),
    /// A Lease of such a length is of no use.
    #[error("`leaderElection.leaseDurationSeconds` is not within {from} to {to}; 15 suits most clusters")]
    LeaseDuration {
        /// The shortest.
        from: u32,
        /// The longest.
        to: u32,
    },
}

impl Default for Config {
    fn default() -> Self {
        let broker = Broker {
            name: "default".to_owned(),
            bundle_namespace: "mqtt-access-mqtt-access-bundles".to_owned(),
            tenant_namespace_selector: LabelSelector::default(),
            allow_dollar_topics: false,
            scram: Scram::default(),
            acl_delivery: AclDelivery::default(),
            acl_files: None,
            will_grace_seconds: 0,
            session_expiry: SessionExpiry::default(),
        };
        Self { brokers: vec![broker], token_service: None, leader_election: None, namespaces: None }
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
            if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&broker.scram.iterations) {
                return Err(ConfigError::Iterations(place));
            }
            let grace = broker.will_grace_seconds;
            if grace > MAX_WILL_GRACE_SECONDS || (grace > 0 && broker.acl_delivery == AclDelivery::Inline) {
                return Err(ConfigError::WillGrace(place));
            }
            if !names.insert(&broker.name) || !namespaces.insert(&broker.bundle_namespace) {
                return Err(ConfigError::Repeated(place));
            }
        }
        self.check_scope()?;
        self.leader_election.as_ref().map_or(Ok(()), LeaderElection::check)
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
    /// The ACL files that are compiled for it.
    #[must_use]
    pub fn wanted_files(&self) -> Vec<File> {
        let languages = self.acl_files.as_deref().unwrap_or(&Language::ALL);
        File::ALL.into_iter().filter(|file| languages.contains(&file.language())).collect()
    }

    /// Whether a namespace with these labels may hold tenants of this broker.
    #[must_use]
    pub fn admits(&self, labels: &BTreeMap<String, String>) -> bool {
        use kube::core::SelectorExt as _;
        let selector: Result<kube::core::Selector, _> = self.tenant_namespace_selector.clone().try_into();
        selector.is_ok_and(|selector| selector.matches(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file))
    }

    fn config(scram: &str) -> Result<Config, ConfigError> {
        load(&format!("brokers: [{{name: b, bundleNamespace: n, tenantNamespaceSelector: {{}}{scram}}}]\n"))
    }

    fn beside(more: &str) -> Result<Config, ConfigError> {
        load(&format!("brokers: [{{name: b, bundleNamespace: n, tenantNamespaceSelector: {{}}}}]\n{more}\n"))
    }

    #[test]
    fn an_election_has_defaults_and_refuses_what_would_not_work() {
        let election = |text: &str| beside(&format!("leaderElection: {text}"));
        assert_eq!(beside("").unwrap().leader_election, None);
        let usual = election("{}").unwrap().leader_election.unwrap();
        assert_eq!((usual.name.as_str(), usual.lease_duration_seconds), ("mqtt-access-operator", 15));
        assert_eq!(usual.namespace, None);
        let own = election("{namespace: ns, name: a.b-c, leaseDurationSeconds: 3}").unwrap().leader_election.unwrap();
        assert_eq!((own.namespace.as_deref(), own.lease_duration_seconds), (Some("ns"), 3));
        for (refused, field) in [
            ("{leaseDurationSeconds: 2}", "leaderElection.leaseDurationSeconds"),
            ("{leaseDurationSeconds: 301}", "leaderElection.leaseDurationSeconds"),
            ("{name: ''}", "leaderElection.name"),
            ("{name: Lease}", "leaderElection.name"),
            ("{name: a..b}", "leaderElection.name"),
            ("{namespace: a.b}", "leaderElection.namespace"),
            ("{namespace: ''}", "leaderElection.namespace"),
        ] {
            let error = election(refused).unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{refused}: {error}");
        }
        for unknown in ["{renewDeadlineSeconds: 10}", "{leaseDurationSeconds: -1}", "yes"] {
            assert!(matches!(election(unknown), Err(ConfigError::Keys(..))), "{unknown}");
        }
    }

    #[test]
    fn a_list_of_namespaces_is_the_choice_and_says_what_is_wrong_with_it() {
        assert!(beside("").unwrap().sees("any"));
        let config = beside("namespaces: [a, b]").unwrap();
        assert!(config.sees("a") && config.sees("b") && !config.sees("c"));
        for (refused, field) in [
            ("[]", "`namespaces`"),
            ("[a, '']", "`namespaces[1]`"),
            ("[a, b, a]", "namespaces[2]"),
            ("[A]", "`namespaces[0]`"),
        ] {
            let error = beside(&format!("namespaces: {refused}")).unwrap_err().to_string();
            assert!(error.contains(field), "{refused}: {error}");
        }
        let selector = "tenantNamespaceSelector: {matchLabels: {edge: admitted}}";
        let selecting = format!("brokers: [{{name: b, bundleNamespace: n, {selector}}}]\nnamespaces: [a]\n");
        let error = load(&selecting).unwrap_err().to_string();
        assert!(error.contains("brokers[0].tenantNamespaceSelector"), "{error}");
    }

    #[test]
    fn a_grace_for_last_wills_is_short_and_only_where_emqx_asks() {
        let grace = |more: &str| config(more).map(|config| config.brokers[0].will_grace_seconds);
        assert_eq!(grace("").unwrap(), 0);
        assert_eq!(grace(", willGraceSeconds: 60").unwrap(), 60);
        for refused in [", willGraceSeconds: 61", ", willGraceSeconds: 1, aclDelivery: Inline"] {
            let error = grace(refused).unwrap_err();
            assert!(error.to_string().contains("brokers[0].willGraceSeconds"), "{error}");
        }
        assert!(grace(", willGraceSeconds: 0, aclDelivery: Inline").is_ok());
        for refused in ["-1", "256", "1.5", "a"] {
            assert!(
                matches!(grace(&format!(", willGraceSeconds: {refused}")), Err(ConfigError::Keys(..))),
                "{refused}"
            );
        }
    }

    #[test]
    fn scram_settings_are_the_brokers_and_bounded() {
        let settings = |scram: &str| ScramSettings::from(config(scram).unwrap().brokers[0].scram);
        assert_eq!(settings(""), ScramSettings::default());
        let (algorithm, iterations) = (ScramAlgorithm::Sha512, 4096);
        assert_eq!(settings(", scram: {algorithm: Sha512}"), ScramSettings { algorithm, iterations });
        assert_eq!(settings(", scram: {iterations: 1000000}").iterations, 1_000_000);
        for refused in ["4095", "1000001", "0"] {
            let error = config(&format!(", scram: {{iterations: {refused}}}")).unwrap_err();
            assert!(error.to_string().contains("scram.iterations"), "{error}");
        }
        for refused in ["{iterations: -1}", "{algorithm: Sha1}", "{rounds: 4096}"] {
            assert!(matches!(config(&format!(", scram: {refused}")), Err(ConfigError::Keys(..))), "{refused}");
        }
    }
}
