//! What the published bundle holds: from there a generated Secret that somebody deleted is restored, unless it held a
//! password, and from there a login stays in force while its turn to be derived has not come.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use mqtt_access_core::bundle::{Bundle, ClientIds, LoginName, Spare};
use mqtt_access_core::scram::ScramSettings;
use mqtt_access_core::secret::Secret;

use super::generated::{KeyOf, Wanted};
use super::login::LoginOf;
use super::{Finder, KeyError};
use crate::cluster::cache::{Group, ObjectKey};
use crate::cluster::controller::Context;
use crate::cluster::publish;
use crate::compile::{Before, Incumbents};
use crate::config::Broker;
use crate::login::Login;

/// Secrets of a bundle by the owners they were made for. One that was brought along is never restored: whoever takes a
/// `secretRef` away wants to be rid of its key.
#[derive(Default)]
pub(in crate::cluster) struct Held {
    tenant: String,
    access_keys: HashMap<String, HeldKey>,
    /// By the UIDs of the devices.
    devices: HashMap<String, HeldKey>,
    scram: Option<ScramSettings>,
    /// By the names of the devices.
    logins: HashMap<String, HeldLogin>,
    /// `None` where nothing is published.
    before: Option<Arc<Before>>,
}

/// A key that is in force.
pub(super) struct HeldKey {
    pub(super) id: String,
    pub(super) secret: Secret,
    pub(super) previous: Option<Spare<Secret>>,
    brought_along: bool,
}

struct HeldLogin {
    uid: Option<String>,
    brought_along: bool,
    client_ids: ClientIds,
    login: LoginName,
}

impl Held {
    pub(in crate::cluster) fn of(bundle: &Bundle) -> Self {
        let devices = bundle.devices.iter().filter_map(|device| {
            let previous = device.spares.previous.clone();
            let (id, secret, brought_along) = (device.key_id.clone(), device.secret.clone()?, device.brought_along);
            Some((device.uid.clone()?, HeldKey { id, secret, previous, brought_along }))
        });
        let keys = bundle.tenant.access_keys.iter().filter_map(|key| {
            let (secret, previous) = (key.secret.clone()?, key.spares.previous.clone());
            let (id, brought_along) = (key.id.clone(), !key.generated);
            Some((key.name.clone(), HeldKey { id, secret, previous, brought_along }))
        });
        let logins = bundle.devices.iter().filter_map(|device| {
            let (uid, brought_along, client_ids) = (device.uid.clone(), device.brought_along, device.client_id.clone());
            Some((device.name.clone(), HeldLogin { uid, brought_along, client_ids, login: device.login.clone()? }))
        });
        Self {
            tenant: bundle.tenant.uid.clone(),
            access_keys: keys.collect(),
            devices: devices.collect(),
            scram: bundle.tenant.scram,
            logins: logins.collect(),
            before: Some(Arc::new(Before::of(bundle))),
        }
    }

    /// Whether a password was made for the owner, which nothing else may know any more.
    pub(super) fn had_password(&self, wanted: &Wanted) -> bool {
        let made = self.logins.get(&wanted.owner_name).filter(|held| !held.brought_along);
        let uid = made.and_then(|held| held.uid.as_ref());
        matches!(wanted.key, KeyOf::Login { .. }) && uid == Some(&wanted.uid)
    }

    /// The login of a device that is what it was: it says nothing of the Secret that a reference leads to now, so it counts
    /// for a pass and no longer.
    pub(super) fn login(&self, of: &LoginOf) -> Option<Login> {
        let HeldLogin { uid, brought_along, client_ids, login } = self.logins.get(&of.device)?;
        let LoginName { name, scram, password, spares: _ } = login;
        // Before version 4 of the format a bundle did not tell whose a login is that was brought along.
        let own = uid.as_ref().map_or(!of.made, |uid| *uid == of.uid && *brought_along != of.made);
        let same = own && *client_ids == of.client_ids && name == of.recipe.login_name();
        let scram = scram.clone().filter(|_| of.recipe.scram() == self.scram);
        let login = of.recipe.select(Login { scram, password: password.clone() });
        Some(login).filter(|login| same && (login.scram.is_some() || login.password.is_some()))
    }

    /// What was made for an owner: only for the very object, one of the same name is another owner.
    fn made(&self, wanted: &Wanted) -> Option<&HeldKey> {
        let held = match &wanted.key {
            KeyOf::Device { .. } => self.key_of(&wanted.uid, None),
            // A bundle holds no password.
            KeyOf::Login { .. } => None,
            KeyOf::AccessKey { name } => self.key_of(&wanted.uid, Some(name)),
        };
        held.filter(|held| !held.brought_along)
    }

    /// What is in force for an owner, wherever it came from.
    pub(super) fn key_of(&self, uid: &str, key: Option<&str>) -> Option<&HeldKey> {
        match key {
            None => self.devices.get(uid),
            Some(name) => self.access_keys.get(name).filter(|_| self.tenant == uid),
        }
    }
}

/// Which names the credentials of a tenant are published with. What an earlier operator published is read once; what cannot be
/// read any more is in force nowhere, and decides nothing.
pub(in crate::cluster) async fn incumbents(
    context: &Context,
    tenant: &ObjectKey,
    broker: &Broker,
) -> Result<Arc<Incumbents>, KeyError> {
    if let Some(known) = context.memory(tenant, |memory| memory.incumbents.clone()) {
        return Ok(known);
    }
    let bundle = read(context, tenant, broker).await?;
    let incumbents = Arc::new(bundle.map(|bundle| Incumbents::of(&bundle.devices)).unwrap_or_default());
    context.memory(tenant, |memory| memory.incumbents = Some(Arc::clone(&incumbents)));
    Ok(incumbents)
}

/// The published bundle of a tenant.
async fn read(context: &Context, tenant: &ObjectKey, broker: &Broker) -> Result<Option<Bundle>, KeyError> {
    let group = Group::Tenant(tenant.clone());
    let index = context.world(|world| world.broker(&broker.name).indexes.group(&group).next().cloned());
    let Some(index) = index else { return Ok(None) };
    let Some(file) = &index.file else { return Ok(None) };
    let api: Api<KubeSecret> = Api::namespaced(context.client.clone(), &broker.bundle_namespace);
    Ok(publish::read(&api, &index, file).await.map_err(KeyError::Bundle)?.ok())
}

impl Finder<'_> {
    /// The key that the published bundle holds for an owner.
    pub(super) async fn held(&self, wanted: &Wanted) -> Result<Option<Secret>, KeyError> {
        Ok(self.published().await?.made(wanted).map(|held| held.secret.clone()))
    }

    /// The key before it, where the published bundle holds one.
    pub(super) async fn held_previous(&self, wanted: &Wanted) -> Result<Option<Spare<Secret>>, KeyError> {
        Ok(self.published().await?.made(wanted).and_then(|held| held.previous.clone()))
    }

    /// Who had which client IDs, by what was published last.
    pub(super) async fn before(&self) -> Result<Option<Arc<Before>>, KeyError> {
        let before = self.published().await?.before.clone();
        let group = Group::Tenant(self.tenant.clone());
        let index = self.context.world(|world| world.broker(&self.broker.name).indexes.group(&group).next().cloned());
        let file = index.as_ref().and_then(|index| index.file.as_ref());
        Ok(before.map(|before| match file {
            Some(file) => before.and(&file.tenant.sessions.resting),
            None => before,
        }))
    }

    /// What the published bundle holds.
    pub(super) async fn published(&self) -> Result<Arc<Held>, KeyError> {
        if let Some(known) = self.context.memory(self.tenant, |memory| memory.held.clone()) {
            return Ok(known);
        }
        let held = Arc::new(self.read_held().await?);
        self.context.memory(self.tenant, |memory| memory.held = Some(Arc::clone(&held)));
        Ok(held)
    }

    async fn read_held(&self) -> Result<Held, KeyError> {
        let bundle = read(self.context, self.tenant, self.broker).await?;
        Ok(bundle.map(|bundle| Held::of(&bundle)).unwrap_or_default())
    }
}
