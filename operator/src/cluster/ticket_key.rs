//! The key under which a tenant's tickets are issued: made once, in the bundle namespace; replaced only when deleted.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use mqtt_access_core::secret::Secret;
use thiserror::Error;

use super::cache::ObjectKey;
use super::controller::Context;
use super::publish::bundle_labels;
use super::world::TicketKey;
use crate::config::Broker;
use crate::credential::{NoRandomness, random};
use crate::names::{self, data};

#[derive(Debug, Error)]
pub(super) enum TicketKeyError {
    #[error("cannot read or create the Secret")]
    Api(#[source] kube::Error),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("the Secret `{0}` of the bundle namespace holds no ticket key; delete it, and a new one is made")]
    Invalid(String),
}

pub(super) async fn ensure(context: &Context, tenant: &ObjectKey, broker: &Broker) -> Result<Secret, TicketKeyError> {
    let name = names::ticket_key(&names::bundle(&tenant.namespace, &tenant.name));
    let key = ObjectKey::new(broker.bundle_namespace.clone(), name.clone());
    let cached = context.world(|world| world.broker(&broker.name).ticket_keys.get(&key));
    if let Some(cached) = cached {
        return read(&cached.0).ok_or(TicketKeyError::Invalid(name));
    }
    let api: Api<KubeSecret> = Api::namespaced(context.client.clone(), &broker.bundle_namespace);
    let made = match api.create(&PostParams::default(), &fresh(tenant, &name)?).await {
        // Somebody was faster, or the cache lags: theirs is the key.
        Err(kube::Error::Api(status)) if status.is_already_exists() => api.get(&name).await,
        made => made,
    };
    let made = made.map_err(TicketKeyError::Api)?;
    let secret = read(&made).ok_or(TicketKeyError::Invalid(name))?;
    context.world(|world| world.broker(&broker.name).ticket_keys.insert(TicketKey(made)));
    Ok(secret)
}

fn read(secret: &KubeSecret) -> Option<Secret> {
    let bytes = &secret.data.as_ref()?.get(data::TICKET_KEY)?.0;
    (bytes.len() == 32).then(|| Secret::new(bytes.clone()))
}

fn fresh(tenant: &ObjectKey, name: &str) -> Result<KubeSecret, NoRandomness> {
    let bytes = random()?;
    Ok(KubeSecret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(bundle_labels(tenant, "ticket-key")),
            ..ObjectMeta::default()
        },
        data: Some([(data::TICKET_KEY.to_owned(), ByteString(bytes.to_vec()))].into()),
        ..KubeSecret::default()
    })
}
