//! `gather` (client): all that a bundle is made of. Mostly a look at the caches; keys that are missing are made here.

use std::sync::Arc;

use mqtt_access_core::secret::Secret;
use mqtt_access_crds::MqttTenant;
use thiserror::Error;
use tokio::sync::MutexGuard;

use super::broker_claims::{Isolation, isolation, published};
use super::cache::ObjectKey;
use super::controller::{self, Context};
use super::fill::{self, FillError};
use super::keys::{self, KeyError};
use super::ticket_key::{self, TicketKeyError};
use super::token_service::{self, RevocationsError};
use crate::compile::{BeyondDevice, Gathered, Seniority, age, any_wanted_twice, wanted_claims, within};
use crate::config::Broker;

/// Why it cannot be gathered.
#[derive(Debug, Error)]
pub(super) enum GatherError {
    #[error("cannot read or make the ticket key of the tenant")]
    TicketKey(#[from] TicketKeyError),
    #[error("cannot know the devices and policies of the tenant")]
    Fill(#[from] FillError),
    #[error("cannot read or make the keys of the tenant")]
    Keys(#[from] KeyError),
    #[error("cannot know which tokens are revoked")]
    Revocations(#[from] RevocationsError),
}

/// What was gathered.
pub(super) struct Gathering<'a> {
    /// `None` where the tenant owns nothing.
    pub(super) gathered: Option<Gathered>,
    /// Whether keys are still to be made.
    pub(super) unfinished: bool,
    pub(super) standing: Isolation,
    /// While the claims that are about to be published are new.
    pub(super) lock: Option<MutexGuard<'a, ()>>,
}

pub(super) async fn gather<'a>(
    context: &'a Context,
    key: &ObjectKey,
    tenant: &Arc<MqttTenant>,
    broker: &Broker,
) -> Result<Gathering<'a>, GatherError> {
    let (standing, lock) = claims(context, key, tenant, broker).await;
    let Some(claims) = standing.claims().cloned() else {
        return Ok(Gathering { gathered: None, unfinished: false, standing, lock });
    };
    let ticket_key: Secret = ticket_key::ensure(context, key, broker).await?;
    let revoked_tokens = token_service::in_force(context, key, broker, controller::now()).await?;
    let fill::Own { devices, policies, mut beyond } = fill::own(context, key).await?;
    // One that does not fit needs no Secret.
    let (devices, newer) = within(devices, tenant.spec.limits.filled().devices, |device| age(device.as_ref()));
    beyond.devices.extend(newer.iter().map(|device| BeyondDevice::from(device.as_ref())));
    let keys = keys::ensure(context, key, tenant, broker, &ticket_key, devices).await?;
    let contested = any_wanted_twice(&keys.devices, &claims.instance_id);
    let incumbents = if contested { Some(keys::incumbents(context, key, broker).await?) } else { None };
    let gathered = Gathered {
        tenant: Arc::clone(tenant),
        claims,
        ticket_key,
        scram: broker.scram.into(),
        acl_delivery: broker.acl_delivery,
        will_grace_seconds: broker.will_grace_seconds,
        session_expiry: broker.session_expiry.seconds(),
        revoked_tokens,
        access_keys: keys.access_keys,
        devices: keys.devices,
        policies,
        beyond,
        before: keys.before,
        incumbents,
        seniority: Seniority::Known,
    };
    Ok(Gathering { gathered: Some(gathered), unfinished: keys.unfinished, standing, lock })
}

/// Claims that change are granted and published by one worker at a time; others need not wait.
async fn claims<'a>(
    context: &'a Context,
    key: &ObjectKey,
    tenant: &MqttTenant,
    broker: &Broker,
) -> (Isolation, Option<MutexGuard<'a, ()>>) {
    let look = || context.world(|world| (isolation(world, broker, key, tenant), published(world, broker, key)));
    let (standing, before) = look();
    let unchanged = before.as_ref() == Some(&wanted_claims(tenant, broker.allow_dollar_topics));
    if unchanged && matches!(standing, Isolation::Granted(..)) {
        return (standing, None);
    }
    let Some(lock) = context.claims.get(&broker.name) else { return (standing, None) };
    let guard = lock.lock().await;
    (look().0, Some(guard))
}
