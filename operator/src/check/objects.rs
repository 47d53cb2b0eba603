//! The objects of a check: a tenant, a device and a policy of one name, and the Secret that the operator makes for the device.
//!
//! All carry a label, and nothing without it is ever deleted: a name that somebody else uses ends the check.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client, Resource};
use mqtt_access_crds::{AclPolicy, DeviceCredential, MqttTenant};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{PAUSE, first};
use crate::names::{CHECK_LABEL, data, device_secret};

/// Why the objects are not there, or not gone.
#[derive(Debug, Error)]
pub(crate) enum ObjectsError {
    /// The API server refuses, or is away.
    #[error("cannot {0} the {1}")]
    Request(&'static str, String, #[source] kube::Error),
    /// It is not of a check.
    #[error("the {0} exists and is nobody's throwaway; give another `--name`")]
    Foreign(String),
    /// The operator did not write what devices need.
    #[error("the Secret `{0}` has no `{1}`")]
    Secret(String, &'static str),
    /// The deletion takes too long.
    #[error("the {0} is still there")]
    Left(String),
}

/// What a device logs in with.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: Zeroizing<String>,
}

/// The objects of one check.
pub(crate) struct Objects {
    name: String,
    namespace: String,
    /// Of namespace and name: whatever a broker must have once only.
    id: String,
    broker: String,
    secrets: Api<Secret>,
    parts: [Part; 3],
}

/// One of them.
struct Part {
    resource: ApiResource,
    api: Api<DynamicObject>,
    /// Which condition says that it is in force.
    condition: &'static str,
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, namespace, broker, .. } = self;
        write!(
            f,
            "a tenant `{name}` in the namespace `{namespace}`, of the broker `{broker}`, with a device and a policy"
        )
    }
}

impl Objects {
    pub(crate) fn new(client: &Client, namespace: &str, name: &str, broker: &str) -> Self {
        let part = |resource: ApiResource, condition| Part {
            api: Api::namespaced_with(client.clone(), namespace, &resource),
            resource,
            condition,
        };
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            id: format!("{:016x}", first(&Sha256::digest(format!("{namespace}/{name}")))),
            broker: broker.to_owned(),
            secrets: Api::namespaced(client.clone(), namespace),
            // The tenant last, when they are deleted: until then the operator finds the others a home.
            parts: [
                part(ApiResource::erase::<AclPolicy>(&()), "Compiled"),
                part(ApiResource::erase::<DeviceCredential>(&()), "Ready"),
                part(ApiResource::erase::<MqttTenant>(&()), "Ready"),
            ],
        }
    }

    pub(crate) fn own_topic(&self) -> String {
        format!("mqtt-access-check/{}/up", self.id)
    }

    /// The tenant owns it, and no policy gives it to anybody.
    pub(crate) fn foreign_topic(&self) -> String {
        format!("mqtt-access-check/{}/down", self.id)
    }

    fn spec(&self, part: &Part) -> Value {
        let (id, tenant) = (&self.id, json!({"name": self.name}));
        if part.resource.kind == MqttTenant::kind(&()) {
            let space = [json!({"filter": format!("mqtt-access-check/{id}/#")})];
            let prefixes = [format!("check-{id}@@@")];
            json!({"instanceId": format!("check-{id}"), "broker": self.broker, "clientIdPrefixes": prefixes, "topicSpace": space})
        } else if part.resource.kind == DeviceCredential::kind(&()) {
            json!({"tenantRef": tenant, "clientId": format!("check-{id}@@@device")})
        } else {
            let rule = json!({"effect": "Allow", "actions": ["Publish"], "topics": [self.own_topic()]});
            json!({"tenantRef": tenant, "subjects": [{"everyone": true}], "rules": [rule]})
        }
    }

    /// Makes them, in the place of those that an earlier check could not delete.
    pub(crate) async fn create(&self, waiting: &mut String) -> Result<(), ObjectsError> {
        for part in &self.parts {
            let found = part.get(&self.name).await?;
            if found.is_some_and(|found| !is_ours(&found)) {
                return Err(ObjectsError::Foreign(part.shown(&self.name)));
            }
        }
        "an earlier check's objects are still there".clone_into(waiting);
        self.delete(Duration::MAX).await?;
        for part in self.parts.iter().rev() {
            let mut object = DynamicObject::new(&self.name, &part.resource).data(json!({"spec": self.spec(part)}));
            object.metadata.labels = Some([(CHECK_LABEL.to_owned(), "true".to_owned())].into());
            let created = part.api.create(&PostParams::default(), &object).await;
            created.map_err(|error| ObjectsError::Request("create", part.shown(&self.name), error))?;
        }
        Ok(())
    }

    /// Waits until all are in force, and reads what the device logs in with.
    pub(crate) async fn ready(&self, waiting: &mut String) -> Result<Login, ObjectsError> {
        for part in &self.parts {
            loop {
                let found = part.get(&self.name).await?;
                match found.map_or(Err("gone".to_owned()), |found| in_force(&found, part.condition)) {
                    Ok(()) => break,
                    Err(told) => *waiting = format!("the {} is {told}", part.shown(&self.name)),
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.login().await
    }

    async fn login(&self) -> Result<Login, ObjectsError> {
        let name = device_secret(&self.name);
        let secret = self.secrets.get(&name).await;
        let secret = secret.map_err(|error| ObjectsError::Request("get", format!("Secret `{name}`"), error))?;
        let mut entries = secret.data.unwrap_or_default();
        let mut text = |key: &'static str| {
            let value = entries.remove(key).and_then(|value| String::from_utf8(value.0).ok());
            value.ok_or_else(|| ObjectsError::Secret(name.clone(), key))
        };
        let (client_id, username) = (text(data::CLIENT_ID)?, text(data::USERNAME)?);
        Ok(Login { client_id, username, password: Zeroizing::new(text(data::PASSWORD)?) })
    }

    /// Deletes what is there and waits until it is gone. The Secret follows its device.
    pub(crate) async fn delete(&self, limit: Duration) -> Result<(), ObjectsError> {
        for part in &self.parts {
            let gone = tokio::time::timeout(limit, part.delete(&self.name)).await;
            gone.unwrap_or_else(|_| Err(ObjectsError::Left(part.shown(&self.name))))?;
        }
        Ok(())
    }
}

impl Part {
    fn shown(&self, name: &str) -> String {
        format!("{} `{name}`", self.resource.kind)
    }

    async fn get(&self, name: &str) -> Result<Option<DynamicObject>, ObjectsError> {
        self.api.get_opt(name).await.map_err(|error| ObjectsError::Request("get", self.shown(name), error))
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectsError> {
        while let Some(found) = self.get(name).await? {
            if !is_ours(&found) {
                return Err(ObjectsError::Foreign(self.shown(name)));
            }
            if found.metadata.deletion_timestamp.is_none() {
                match self.api.delete(name, &DeleteParams::default()).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                    Err(error) => return Err(ObjectsError::Request("delete", self.shown(name), error)),
                    Ok(_) => continue,
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

fn is_ours(object: &DynamicObject) -> bool {
    object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(CHECK_LABEL))
}

/// Or what the operator says instead.
fn in_force(object: &DynamicObject, condition: &str) -> Result<(), String> {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|found| found.get("type").is_some_and(|kind| kind == condition));
    let Some(found) = found else { return Err("not looked at by the operator yet; see that it runs".to_owned()) };
    let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("status") == "True" && found.get("observedGeneration").and_then(Value::as_i64) == object.metadata.generation
    {
        return Ok(());
    }
    Err(format!("not in force ({}: {})", text("reason"), text("message")))
}
