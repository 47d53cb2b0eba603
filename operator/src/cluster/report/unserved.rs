//! Tenants that this operator does not serve. Another one may, of a second release in the same cluster, and then its word
//! counts: two that contradict each other would write for ever.
//!
//! So it speaks where nobody has said anything about this generation for a while, and where the last word was its own,
//! because what is published of the tenant was. Otherwise it is silent, also when it is the only one.

use std::time::Duration;

use kube::Resource as _;
use mqtt_access_crds::{
    ConditionReason as _, MqttTenant, MqttTenantStatus, Stored, TenantBudget, TenantIsolated, TenantPublished,
    TenantReady,
};
use tokio::time::Instant;

use super::write::{condition, is_said};
use super::{Homeless, ReportError, objects, write_tenant};
use crate::cluster::cache::{Group, ObjectKey};
use crate::cluster::controller::Context;

/// How long another operator has the first word about a new generation.
const COURTESY: Duration = Duration::from_secs(5);

/// Why a tenant is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) enum Unserved {
    /// It names a broker that this operator does not know.
    Elsewhere,
    /// Its namespace may not attach tenants to the broker.
    NotAdmitted,
}

/// What is remembered of a tenant that is not served.
#[derive(Default)]
pub(in crate::cluster) struct Courtesy {
    /// The generation that this operator had published.
    own: Option<i64>,
    /// The generation that nobody had said anything about, and when that was seen.
    unheard: Option<(Option<i64>, Instant)>,
}

/// What the conditions of a tenant say about its present generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Nothing.
    Nobody,
    /// That nobody serves it.
    NotServed,
    /// Something that only one who serves it can say.
    Served,
}

fn word(tenant: &Stored<MqttTenant>) -> Word {
    let status = tenant.decoded().and_then(|tenant| tenant.status.as_ref());
    let generation = tenant.meta().generation;
    let Some(status) = status.filter(|status| status.observed_generation == generation) else { return Word::Nobody };
    let ready = status.conditions.iter().find(|condition| condition.type_ == TenantReady::CONDITION);
    match ready {
        None => Word::Nobody,
        Some(ready) if ready.reason == TenantReady::NotServed.as_str() => Word::NotServed,
        Some(_) => Word::Served,
    }
}

/// Remembers whose word the conditions are, before the bundle that proves it is removed.
pub(in crate::cluster) fn note(context: &Context, key: &ObjectKey, tenant: &Stored<MqttTenant>) {
    let group = Group::Tenant(key.clone());
    let ours =
        context.world(|world| world.brokers.values().any(|broker| broker.indexes.group(&group).next().is_some()));
    if ours && word(tenant) == Word::Served {
        context.memory(key, |memory| memory.courtesy.own = tenant.meta().generation);
    }
}

/// Tells a tenant that it is not served, where nobody else has the word. Gives when to look again.
pub(in crate::cluster) async fn unserved(
    context: &Context,
    key: &ObjectKey,
    tenant: &Stored<MqttTenant>,
    why: Unserved,
) -> Result<Option<Duration>, ReportError> {
    let generation = tenant.meta().generation;
    let own = context.memory(key, |memory| generation.is_some() && memory.courtesy.own == generation);
    match (word(tenant), why) {
        (Word::Served, _) if !own => return Ok(None),
        (Word::NotServed, Unserved::Elsewhere) => return Ok(None),
        (Word::Nobody, _) => {
            let left = context.memory(key, |memory| memory.courtesy.left(generation, Instant::now()));
            if !left.is_zero() {
                return Ok(Some(left));
            }
        }
        (Word::Served, _) | (Word::NotServed, Unserved::NotAdmitted) => {}
    }
    write_tenant(context, tenant, not_served(tenant, why)).await?;
    if why == Unserved::NotAdmitted {
        objects::homeless(context, key, &Homeless::not_ready()).await?;
    }
    context.memory(key, |memory| memory.courtesy.own = None);
    Ok(None)
}

impl Courtesy {
    /// How much longer nobody but the one who serves the tenant should speak.
    fn left(&mut self, generation: Option<i64>, now: Instant) -> Duration {
        let since = match self.unheard {
            Some((known, since)) if known == generation => since,
            _ => now,
        };
        self.unheard = Some((generation, since));
        COURTESY.saturating_sub(now.duration_since(since))
    }
}

fn not_served(tenant: &Stored<MqttTenant>, why: Unserved) -> MqttTenantStatus {
    let why = match why {
        Unserved::Elsewhere => "no operator has said that it serves the broker `spec.broker` names",
        Unserved::NotAdmitted => "tenants of this namespace may not attach to that broker; ask the platform team",
    };
    let conditions = vec![
        condition(tenant, TenantReady::NotServed, why.to_owned()),
        condition(tenant, TenantIsolated::NotServed, why.to_owned()),
        condition(tenant, TenantPublished::NotServed, why.to_owned()),
        condition(tenant, TenantBudget::NotServed, why.to_owned()),
    ];
    let news = conditions.into_iter().filter(|condition| !is_said(tenant, condition)).collect();
    // Which Secrets there were is remembered: a new key is never made in place of a lost one by itself.
    let known = tenant.decoded().and_then(|tenant| tenant.status.clone()).unwrap_or_default();
    MqttTenantStatus {
        observed_generation: tenant.meta().generation,
        conditions: news,
        access_keys: known.access_keys,
        ..MqttTenantStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tenant(status: Value) -> Stored<MqttTenant> {
        let mut tenant = MqttTenant::new("t", serde_json::from_value(json!({"instanceId": "t"})).unwrap());
        tenant.metadata.generation = Some(2);
        tenant.status = serde_json::from_value(status).unwrap();
        tenant.into()
    }

    fn told(reason: &str, generation: i64) -> Value {
        let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": "in other words",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let keys = json!([{"name": "backend", "id": "AK.1", "secretName": "t-backend-access-key"}]);
        json!({"observedGeneration": generation, "conditions": [ready], "accessKeys": keys})
    }

    #[test]
    fn only_what_was_said_about_this_generation_counts() {
        assert_eq!(word(&tenant(Value::Null)), Word::Nobody);
        assert_eq!(word(&tenant(told("Ready", 1))), Word::Nobody);
        assert_eq!(word(&tenant(told("Ready", 2))), Word::Served);
        assert_eq!(word(&tenant(told("Suspended", 2))), Word::Served);
        assert_eq!(word(&tenant(told("NotServed", 2))), Word::NotServed);
    }

    #[tokio::test(start_paused = true)]
    async fn another_operator_has_the_first_word_for_a_while() {
        let (mut courtesy, start) = (Courtesy::default(), Instant::now());
        assert_eq!(courtesy.left(Some(1), start), COURTESY);
        assert_eq!(courtesy.left(Some(1), start + COURTESY / 2), COURTESY / 2);
        assert_eq!(courtesy.left(Some(1), start + COURTESY), Duration::ZERO);
        assert_eq!(courtesy.left(Some(2), start + COURTESY), COURTESY, "for each generation anew");
    }

    #[test]
    fn what_is_known_of_lost_secrets_is_kept_and_the_same_in_other_words_is_not_written() {
        let status = not_served(&tenant(told("NotServed", 2)), Unserved::Elsewhere);
        assert_eq!(status.access_keys.first().and_then(|key| key.secret_name.as_deref()), Some("t-backend-access-key"));
        let kinds: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(kinds, ["Isolated", "Published", "WithinBudget"]);
    }
}
