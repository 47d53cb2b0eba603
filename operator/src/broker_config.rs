//! What each broker's own configuration must say to be judged by the sidecar beside it: `broker-config` prints it.
//!
//! The one place for these settings. Where a broker asks nobody, or takes a failure for *no opinion*, its own defaults let
//! everybody do everything; so the README, the manifests under `examples/brokers` and the brokers that the tests start all have
//! the text from here. The files beside this one are whole but for words between `@`, so that a chart can have them too.

use std::net::SocketAddr;

use clap::ValueEnum;
use mqtt_access_core::acl_file::Language;
use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::scram::ScramAlgorithm;
use thiserror::Error;

use crate::config::{Broker, Scram};

/// Where the sidecar listens unless told otherwise.
const SIDECAR: &str = "http://127.0.0.1:8080";
const HOUR: UnixSeconds = 3600;
/// Where the manifests under `examples/brokers` mount what `--acl-dir` is about.
const ACL_DIR: &str = "/mqtt-access/acl";

const RABBITMQ: &str = include_str!("broker_config/rabbitmq.conf");
const MOSQUITTO: &str = include_str!("broker_config/mosquitto.conf");
const EMQX_AUTHENTICATION: &str = include_str!("broker_config/emqx-authentication.conf");
const EMQX_SCRAM: &str = include_str!("broker_config/emqx-scram.conf");
const EMQX_AUTHORIZATION: &str = include_str!("broker_config/emqx-authorization.conf");
const EMQX_ACL_FILE: &str = include_str!("broker_config/emqx-acl-file.conf");
const EMQX_NODE_CACHES: &str = include_str!("broker_config/emqx-node-caches.conf");
const RABBITMQ_SESSIONS: &str = include_str!("broker_config/rabbitmq-sessions.conf");
const MOSQUITTO_SESSIONS: &str = include_str!("broker_config/mosquitto-sessions.conf");
const EMQX_SESSIONS: &str = include_str!("broker_config/emqx-sessions.conf");

/// A broker's software, as far as its settings differ between versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Software {
    /// `rabbitmq.conf` of RabbitMQ 3.10 and 3.11, with its plugin for MQTT.
    Rabbitmq,
    /// `rabbitmq.conf` of RabbitMQ 3.12 and later, 4 included.
    #[value(name = "rabbitmq-4")]
    Rabbitmq4,
    /// `mosquitto.conf` of a Mosquitto 2 that reads the files of `--acl-dir`.
    Mosquitto,
    /// `emqx.conf` of EMQX 5.8.5 to 5.10.
    #[value(name = "emqx-5")]
    Emqx5,
    /// `emqx.conf` of EMQX 6.
    #[value(name = "emqx-6")]
    Emqx6,
}

/// An edition of EMQX 5. EMQX 6 has one edition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Edition {
    /// The open-source EMQX 5.8. It does not start with SCRAM over HTTP in its configuration.
    OpenSource,
    /// EMQX Enterprise 5.8, and every EMQX from 5.9 on.
    Enterprise,
}

/// What the text depends on; every default is the sidecar's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    /// `http://` and a loopback address.
    pub sidecar: Option<&'a str>,
    /// The folder of `--acl-dir` as the broker sees it.
    pub acl_dir: Option<&'a str>,
    /// The edition of EMQX 5; open source when absent, because its configuration is one that both editions take.
    pub edition: Option<Edition>,
    /// The broker in the operator's configuration; none: whatever the software needs.
    pub broker: Option<&'a Broker>,
}

/// Why there is no safe configuration.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum BrokerConfigError {
    /// Passwords would cross a network in the clear.
    #[error(
        "`--sidecar` `{0}` is not `http://` and a loopback address such as {SIDECAR}; run the sidecar beside the broker"
    )]
    Sidecar(String),
    /// A folder that would end the line it stands in.
    #[error(
        "`--acl-dir` `{0}` is not an absolute path of letters, digits, `.`, `_` and `-`; mount the folder at such a path"
    )]
    AclDir(String),
    /// An option without any effect is a misunderstanding.
    #[error("`{0}` means nothing to this broker; leave it out")]
    Unused(&'static str),
    /// Generated passwords would be missing in the password file.
    #[error(
        "Mosquitto needs `Mosquitto` in `aclFiles` of broker `{0}` in the operator's configuration; list it there first"
    )]
    NeedsFiles(String),
    /// Only EMQX asks about a last will after the expiry of its session.
    #[error(
        "`willGraceSeconds` of broker `{0}` means nothing to this software; remove it from the operator's configuration first"
    )]
    WillGrace(String),
    /// Sessions would end later than client IDs are free again.
    #[error("{0} cannot end sessions after the `sessionExpiry` of broker `{1}` in the operator's configuration; {2}")]
    SessionExpiry(&'static str, String, &'static str),
    /// Topics of one tenant would reach another.
    #[error(
        "RabbitMQ lets a leading wildcard reach topics that begin with `$`: remove `allowDollarTopics` of broker `{0}` in the operator's configuration first"
    )]
    DollarTopics(String),
}

impl Software {
    /// The text to paste, with comments in the broker's own syntax.
    pub fn config(self, settings: Settings<'_>) -> Result<String, BrokerConfigError> {
        let Settings { sidecar, acl_dir, edition, broker } = settings;
        broker.map_or(Ok(()), |broker| self.check(broker))?;
        if edition.is_some() && self != Self::Emqx5 {
            return Err(BrokerConfigError::Unused("--edition"));
        }
        let template = self.template(edition.unwrap_or(Edition::OpenSource), broker);
        for (given, word, option) in [(sidecar, "@SIDECAR@", "--sidecar"), (acl_dir, "@ACL_DIR@", "--acl-dir")] {
            if given.is_some() && !template.contains(word) {
                return Err(BrokerConfigError::Unused(option));
            }
        }
        let Scram { algorithm, iterations } = broker.map(|broker| broker.scram).unwrap_or_default();
        let session = session_seconds(broker);
        let algorithm = match algorithm {
            ScramAlgorithm::Sha256 => "sha256",
            ScramAlgorithm::Sha512 => "sha512",
        };
        Ok(template
            .replace("@SIDECAR@", base(sidecar.unwrap_or(SIDECAR))?)
            .replace("@ACL_DIR@", folder(acl_dir.unwrap_or(ACL_DIR))?)
            .replace("@RABBITMQ@", if self == Self::Rabbitmq4 { "rabbitmq/v4" } else { "rabbitmq" })
            .replace("@EMQX@", if self == Self::Emqx6 { "v6" } else { "v5" })
            .replace("@SCRAM_ALGORITHM@", algorithm)
            .replace("@SCRAM_ITERATIONS@", &iterations.to_string())
            .replace("@SESSION_SECONDS@", &session.to_string())
            .replace("@SESSION_MILLIS@", &session.saturating_mul(1000).to_string())
            .replace("@SESSION_HOURS@", &(session / HOUR).to_string()))
    }

    fn check(self, broker: &Broker) -> Result<(), BrokerConfigError> {
        let name = || broker.name.clone();
        match self {
            Self::Rabbitmq | Self::Rabbitmq4 | Self::Mosquitto if broker.will_grace_seconds > 0 => {
                Err(BrokerConfigError::WillGrace(name()))
            }
            Self::Rabbitmq | Self::Rabbitmq4 if broker.allow_dollar_topics => {
                Err(BrokerConfigError::DollarTopics(name()))
            }
            Self::Mosquitto if !broker.reads(Language::Mosquitto) => Err(BrokerConfigError::NeedsFiles(name())),
            Self::Mosquitto if (1..HOUR).contains(&session_seconds(Some(broker))) => {
                let way_out = "it counts whole hours: set `1h` at least, or `0`";
                Err(BrokerConfigError::SessionExpiry("Mosquitto", name(), way_out))
            }
            _ => Ok(()),
        }
    }

    fn template(self, edition: Edition, broker: Option<&Broker>) -> String {
        let has_scram = self == Self::Emqx6 || edition == Edition::Enterprise;
        let scram = if has_scram { EMQX_SCRAM.trim_end() } else { "" };
        self.parts(broker).join("\n").replace("@SCRAM@", scram).replace("@VERSIONS@", self.versions(edition))
    }

    /// The versions that a configuration is made for. Settings for EMQX 5 leave a cache of logins switched on in EMQX 6.
    fn versions(self, edition: Edition) -> &'static str {
        match (self, edition) {
            (Self::Emqx6, _) => "EMQX 6",
            (Self::Emqx5, Edition::Enterprise) => "EMQX Enterprise 5.8.5 and later, or EMQX 5.9 and 5.10",
            (Self::Emqx5, Edition::OpenSource) => "EMQX 5.8.5 to 5.10",
            (Self::Rabbitmq, _) => "RabbitMQ 3.10 and 3.11",
            (Self::Rabbitmq4, _) => "RabbitMQ 3.12 and later",
            (Self::Mosquitto, _) => "Mosquitto 2",
        }
    }

    fn parts(self, broker: Option<&Broker>) -> Vec<&'static str> {
        // Listed is what the broker itself reads; compiled for information is not.
        let by_file = broker.is_some_and(|broker| broker.reads(Language::Emqx));
        let authorization = if by_file { EMQX_ACL_FILE } else { EMQX_AUTHORIZATION };
        let (mut templates, sessions) = match self {
            Self::Rabbitmq | Self::Rabbitmq4 => (vec![RABBITMQ], RABBITMQ_SESSIONS),
            Self::Mosquitto => (vec![MOSQUITTO], MOSQUITTO_SESSIONS),
            Self::Emqx5 => (vec![EMQX_AUTHENTICATION, authorization], EMQX_SESSIONS),
            Self::Emqx6 => (vec![EMQX_AUTHENTICATION, authorization, EMQX_NODE_CACHES], EMQX_SESSIONS),
        };
        if session_seconds(broker) > 0 {
            templates.push(sessions);
        }
        templates
    }
}

/// How long the broker keeps sessions; 0 where that is its own affair.
fn session_seconds(broker: Option<&Broker>) -> UnixSeconds {
    broker.map_or(0, |broker| broker.session_expiry.seconds())
}

fn base(sidecar: &str) -> Result<&str, BrokerConfigError> {
    let address = sidecar.strip_prefix("http://").and_then(|address| address.parse::<SocketAddr>().ok());
    let local = address.is_some_and(|address| address.ip().is_loopback());
    if local { Ok(sidecar) } else { Err(BrokerConfigError::Sidecar(sidecar.to_owned())) }
}

fn folder(path: &str) -> Result<&str, BrokerConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let fine = path.starts_with('/') && !path.ends_with('/') && path.chars().all(plain);
    if fine { Ok(path) } else { Err(BrokerConfigError::AclDir(path.to_owned())) }
}

#[cfg(test)]
mod tests;
