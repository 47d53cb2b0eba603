//! The same question to a cluster: its objects as the API server has them, listed once. No Secret is read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use mqtt_access_crds::{
    AclPolicy, BundleStatus, Condition, ConditionReason as _, DeviceCredential, MqttTenant, MqttTenantStatus, Stored,
    TenantIsolated,
};
use serde::de::DeserializeOwned;

use super::{Answer, ExplainError, Question};
use crate::compile::{created, wanted_claims};
use crate::config::Config;
use crate::manifest::Objects;
use crate::manifest::lines::RuleLines;
use crate::offline::{self, Before, Past, Published, Seniority};

pub(super) async fn answer(question: &Question, config: &Config) -> Result<Answer, ExplainError> {
    let client = Client::try_default().await.map_err(|error| ExplainError::NoCluster(error.into()))?;
    // Which namespaces a broker admits was for the operator to say, and its conditions tell.
    let mut config = Config { namespaces: None, ..config.clone() };
    config.brokers.iter_mut().for_each(|broker| broker.tenant_namespace_selector = LabelSelector::default());
    let mut objects = Objects::default();
    objects.tenants = tenants(question, &client).await?;
    let before = before(&objects.tenants, &config);
    let past = Past { before: &before, seniority: Seniority::Known, now: offline::now() };
    let (owner, _) = question.tenant(&objects, &config, past)?;
    let namespace = owner.tenant.split('/').next().unwrap_or_default().to_owned();
    objects.devices = list::<DeviceCredential>(&client, &namespace, "DeviceCredentials").await?;
    objects.policies = list::<AclPolicy>(&client, &namespace, "AclPolicies").await?;
    let (indexed, index) = question.tenant(&objects, &config, past)?;
    let tenant = objects.tenants.iter().find(|tenant| shown(*tenant) == indexed.tenant);
    let mut notes = indexed.notes();
    notes.extend(tenant.into_iter().flat_map(lagging));
    let own = objects.devices.iter().filter(|device| device.spec.client_id.as_ref() == Some(&question.client_id));
    notes.extend(own.flat_map(|device| {
        let status = device.status.clone().unwrap_or_default();
        // Such as a Secret that is missing, which is not looked at here.
        let untrue = untrue("DeviceCredential", &status.conditions);
        behind("DeviceCredential", device, status.observed_generation).into_iter().chain(untrue)
    }));
    notes.extend(objects.policies.iter().filter_map(|policy| {
        let observed = policy.status.as_ref().and_then(|status| status.observed_generation);
        behind("AclPolicy", policy, observed)
    }));
    let answer = question.explain(&indexed.tenant, &index, &RuleLines::default(), notes)?;
    Ok(Answer { bundle: tenant.and_then(published), ..answer })
}

/// The tenants that are published with what they want, by what the operator says of them.
fn before(tenants: &[MqttTenant], config: &Config) -> Before {
    let granted = [TenantIsolated::NoConflict, TenantIsolated::OwnedAlone, TenantIsolated::ConsentWithdrawn];
    let is_granted = |condition: &Condition| {
        condition.type_ == TenantIsolated::CONDITION && granted.iter().any(|reason| reason.as_str() == condition.reason)
    };
    let published = tenants.iter().filter_map(|tenant| {
        let status = tenant.status.as_ref()?;
        let granted = status.bundle.is_some() && status.conditions.iter().any(is_granted);
        let broker = config.broker(&tenant.spec.broker).filter(|_| granted)?;
        let claims = wanted_claims(tenant, broker.allow_dollar_topics);
        let key = (tenant.namespace().unwrap_or_default(), tenant.name_any());
        Some((key, Published::with_claims(claims, created(tenant))))
    });
    published.collect()
}

fn shown(object: &impl kube::Resource) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Those of the tenant's namespace where one is named, which needs no more rights than there.
async fn tenants(question: &Question, client: &Client) -> Result<Vec<MqttTenant>, ExplainError> {
    let namespace = question.tenant.as_ref().and_then(|tenant| tenant.split_once('/')).map(|(namespace, _)| namespace);
    let api = namespace.map_or_else(|| Api::all(client.clone()), |name| Api::namespaced(client.clone(), name));
    decoded(api, "MqttTenants").await
}

async fn list<K>(client: &Client, namespace: &str, kinds: &'static str) -> Result<Vec<K>, ExplainError>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    decoded(Api::namespaced(client.clone(), namespace), kinds).await
}

/// An object that does not decode may be a Deny: no answer is better than one without it.
async fn decoded<K>(api: Api<Stored<K>>, kinds: &'static str) -> Result<Vec<K>, ExplainError>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let found = api.list(&ListParams::default()).await.map_err(|error| ExplainError::Cluster(kinds, error))?;
    let objects = found.items.into_iter().map(|stored| match stored.as_result() {
        Ok(object) => Ok(object.clone()),
        Err(_) => Err(ExplainError::Undecodable(format!("{} {}", K::kind(&()), shown(&stored)))),
    });
    objects.collect()
}

fn published(tenant: &MqttTenant) -> Option<super::Published> {
    let BundleStatus { revision, digest } = tenant.status.as_ref()?.bundle.clone()?;
    Some(super::Published { revision: revision.try_into().ok()?, digest })
}

/// Where what is published may be different from what is asked for.
fn lagging(tenant: &MqttTenant) -> Vec<String> {
    let Some(MqttTenantStatus { observed_generation, conditions, .. }) = &tenant.status else {
        return vec!["the operator has not looked at the tenant yet; nothing of it is published".to_owned()];
    };
    let untrue = untrue("MqttTenant", conditions);
    behind("MqttTenant", tenant, *observed_generation).into_iter().chain(untrue).collect()
}

/// Conditions that do not hold.
fn untrue(kind: &str, conditions: &[Condition]) -> Vec<String> {
    let conditions = conditions.iter().filter(|condition| condition.status != "True");
    let told = conditions.map(|Condition { type_, reason, message, .. }| {
        format!("{type_} is not true of the {kind} ({reason}), so that what is published may differ: {message}")
    });
    told.collect()
}

fn behind(kind: &str, object: &impl kube::Resource, observed: Option<i64>) -> Option<String> {
    let generation = object.meta().generation;
    (generation != observed).then(|| {
        let observed = observed.map_or_else(|| "none".to_owned(), |observed| observed.to_string());
        let generation = generation.unwrap_or_default();
        format!("{kind} {}: the operator has seen generation {observed} and this is {generation}", shown(object))
    })
}
