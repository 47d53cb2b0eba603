//! `explain`: may this client publish there, or subscribe to that, and why?
//!
//! ```text
//!   manifests, or the lists of a cluster -> indexes, without secrets -> the tenant of the client -> core::explain -> Answer
//! ```
//!
//! The rules hang on no secret, so none is needed, and none is read from a cluster.

mod cluster;
mod human;

use std::path::PathBuf;

use mqtt_access_core::client::Mode;
use mqtt_access_core::explain::{ShownClient, Unidentified, Who};
use mqtt_access_core::index::{BrokerIndex, TenantIndex};
use mqtt_access_core::policy::{Effect, Qos};
use mqtt_access_core::topic::TopicError;
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::verdict::{Notation, Request, Target};
use serde::Serialize;
use thiserror::Error;

pub use human::Shown;

use crate::config::Config;
use crate::manifest::lines::RuleLines;
use crate::manifest::{self, Objects, Refused};
use crate::offline::{self, Before, Indexed, OfflineError, Past, Seniority};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Files and folders with manifests; none: the cluster.
    pub paths: Vec<PathBuf>,
    /// The client ID.
    pub client_id: String,
    /// The access key that it logs in with, by its name.
    pub access_key: Option<String>,
    /// The login name that it logs in with.
    pub username: Option<String>,
    /// How it logs in.
    pub mode: Option<Mode>,
    /// What it wants to do.
    pub asked: Asked,
    /// The broker.
    pub broker: String,
    /// Namespace and name of the tenant; the owner of the client ID where it is not named.
    pub tenant: Option<String>,
}

/// What a client wants to do.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Publish to a topic.
    Publish {
        /// The topic name; with `$delayed/` before it as the broker has it.
        topic: String,
        /// The `QoS`.
        qos: Qos,
        /// The retain flag.
        retain: bool,
    },
    /// Subscribe to a filter.
    Subscribe {
        /// The topic filter; with `$share/{group}/` before it as the broker has it.
        filter: String,
        /// The `QoS` asked for.
        qos: Qos,
    },
}

/// The answer: for each way in which the client may log in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Allow where it is allowed in every way.
    pub verdict: Effect,
    /// The broker.
    pub broker: String,
    /// Namespace and name of the tenant.
    pub tenant: String,
    /// What the operator has published, where a cluster was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Published>,
    /// What else has to be known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The client in each of the ways.
    pub clients: Vec<ShownClient>,
}

/// The bundle in `status.bundle` of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Its revision.
    pub revision: u64,
    /// Its digest.
    pub digest: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// The topic is none.
    #[error("`{argument}` is refused")]
    Topic {
        /// The argument of the command line.
        argument: &'static str,
        /// What is wrong with it.
        #[source]
        source: TopicError,
    },
    /// The manifests are not what the API server would accept.
    #[error("the manifests are refused")]
    Refused(#[from] Refused),
    /// They cannot be compiled.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// There is no such tenant.
    #[error("broker `{1}` has no tenant `{0}`; name one as NAMESPACE/NAME")]
    NoTenant(String, String),
    /// Nobody owns the client ID.
    #[error("no tenant of broker `{1}` owns the client ID `{0}`; correct it, or name a tenant by `--tenant`")]
    NoOwner(String, String),
    /// The tenant holds nothing.
    #[error("nothing of tenant `{0}` is in force: {1}")]
    NotInForce(String, String),
    /// The client cannot be told.
    #[error("it is not clear which client of tenant `{0}` is meant")]
    Unidentified(String, #[source] Unidentified),
    /// The cluster does not answer.
    #[error("cannot list {0} in the cluster; give files to ask without one")]
    Cluster(&'static str, #[source] kube::Error),
    /// No cluster is known.
    #[error("cannot reach a cluster; set KUBECONFIG, or give files to ask without one")]
    NoCluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An object of the cluster is not as this program knows it.
    #[error("{0} does not decode here; ask with the version of the operator that wrote its status, or correct it")]
    Undecodable(String),
}

impl Question {
    /// Answers from manifests, or without them from the cluster of the current context.
    pub async fn answer(&self, config: &Config) -> Result<Answer, ExplainError> {
        // A topic that is none is told before anything is read.
        self.request()?;
        if self.paths.is_empty() {
            return cluster::answer(self, config).await;
        }
        let objects = manifest::read(&self.paths)?;
        let lines = RuleLines::read(&self.paths);
        let past = Past { before: &Before::default(), seniority: Seniority::Unknown, now: offline::now() };
        let (indexed, tenant) = self.tenant(&objects, config, past)?;
        self.explain(&indexed.tenant, &tenant, &lines, indexed.notes())
    }

    fn request(&self) -> Result<Request<'_>, ExplainError> {
        let refused = |argument| move |source| ExplainError::Topic { argument, source };
        let notation = Notation::Mqtt;
        Ok(match &self.asked {
            Asked::Publish { topic, qos, retain } => {
                let name = publish_name(topic, Prefixes::Strip).map_err(refused("TOPIC"))?;
                Request { target: Target::Publish(name), qos: Some(*qos), retain: Some(*retain), notation }
            }
            Asked::Subscribe { filter, qos } => {
                let filter = subscribe_filter(filter, Prefixes::Strip).map_err(refused("FILTER"))?;
                Request { target: Target::Subscribe(filter), qos: Some(*qos), retain: None, notation }
            }
        })
    }

    /// The tenant that was named, or that owns the client ID.
    fn tenant(
        &self,
        objects: &Objects,
        config: &Config,
        past: Past<'_>,
    ) -> Result<(Indexed, std::sync::Arc<TenantIndex>), ExplainError> {
        let Self { broker, client_id, .. } = self;
        let found = config.broker(broker).ok_or_else(|| OfflineError::NoBroker(broker.clone()))?;
        let mut all = offline::indexes(objects, config, found, past)?;
        let name = match &self.tenant {
            Some(name) => name.clone(),
            None => owner(&all, client_id).ok_or_else(|| ExplainError::NoOwner(client_id.clone(), broker.clone()))?,
        };
        let place = all.iter().position(|indexed| indexed.tenant == name);
        let place = place.ok_or_else(|| ExplainError::NoTenant(name.clone(), broker.clone()))?;
        let indexed = all.swap_remove(place);
        match indexed.index.clone() {
            Ok(index) => Ok((indexed, index)),
            Err(why) => Err(ExplainError::NotInForce(name, why)),
        }
    }

    fn explain(
        &self,
        shown: &str,
        tenant: &TenantIndex,
        lines: &RuleLines,
        notes: Vec<String>,
    ) -> Result<Answer, ExplainError> {
        let who = Who {
            client_id: Some(&self.client_id),
            access_key: self.access_key.as_deref(),
            username: self.username.as_deref(),
            mode: self.mode,
        };
        let personas = tenant.identify(who).map_err(|source| ExplainError::Unidentified(shown.to_owned(), source))?;
        let (request, now) = (self.request()?, offline::now());
        let place = |rule: mqtt_access_core::verdict::RuleRef<'_>| lines.place(rule.namespace, rule.policy, rule.index);
        let clients: Vec<ShownClient> =
            personas.iter().map(|persona| ShownClient::of(persona, &request, now, place)).collect();
        let all = clients.iter().all(|client| client.explanation.verdict == Effect::Allow);
        Ok(Answer {
            verdict: if all { Effect::Allow } else { Effect::Deny },
            broker: self.broker.clone(),
            tenant: shown.to_owned(),
            bundle: None,
            notes,
            clients,
        })
    }
}

/// The tenant that owns a client ID, among those that hold what they claim.
fn owner(all: &[Indexed], client_id: &str) -> Option<String> {
    let index = BrokerIndex::new(all.iter().filter_map(|indexed| indexed.index.clone().ok()));
    let tenant = index.tenant_of_client(client_id)?.tenant();
    Some(format!("{}/{}", tenant.namespace, tenant.name))
}

impl Indexed {
    /// What is not in force as written, as far as it is about rules.
    fn notes(&self) -> Vec<String> {
        self.problems.iter().map(|problem| format!("not in force as written: {problem}")).collect()
    }
}
