//! Tenants with a budget, an access key, devices and policies; each object is older than the next of its kind, and a device
//! than the policy of its number.

use std::sync::Arc;

use mqtt_access_core::index::{Persona, TenantIndex};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target, Verdict};
use mqtt_access_crds::{AclPolicy, DeviceCredential, MqttTenant, Stored};
use serde_json::{Value, json};

use crate::compile::{Beyond, Compiled, Gathered, Key, compile, wanted_claims};

#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) limits: Value,
    pub(super) devices: Vec<(i64, Value)>,
    pub(super) policies: Vec<(i64, Value)>,
}

pub(super) fn device(client_id: &str) -> Value {
    json!({"tenantRef": {"name": "t"}, "clientId": client_id})
}

pub(super) fn allow(subject: Value, topics: &[&str]) -> Value {
    policy("Allow", subject, topics)
}

pub(super) fn deny(subject: Value, topics: &[&str]) -> Value {
    policy("Deny", subject, topics)
}

fn policy(effect: &str, subject: Value, topics: &[&str]) -> Value {
    let subjects = vec![subject];
    json!({"tenantRef": {"name": "t"}, "subjects": subjects,
        "rules": [{"effect": effect, "actions": ["Publish", "Subscribe"], "topics": topics}]})
}

impl Tenant {
    pub(super) fn new(limits: Value) -> Self {
        Self { limits, devices: Vec::new(), policies: Vec::new() }
    }

    pub(super) fn devices(mut self, devices: impl IntoIterator<Item = Value>) -> Self {
        self.devices = (0..).step_by(2).zip(devices).collect();
        self
    }

    pub(super) fn policies(mut self, policies: impl IntoIterator<Item = Value>) -> Self {
        self.policies = (1..).step_by(2).zip(policies).collect();
        self
    }

    pub(super) fn compile(&self) -> Compiled {
        compile(&self.gathered(), 0)
    }

    pub(super) fn gathered(&self) -> Gathered {
        let spec = json!({"instanceId": "i", "topicSpace": [{"filter": "a/#"}], "accessKeys": [{"name": "backend"}],
            "limits": self.limits});
        let tenant: MqttTenant = object("MqttTenant", "t", 0, &spec);
        let devices = self.devices.iter().enumerate().map(|(number, (created, spec))| {
            (
                Arc::new(object::<Stored<DeviceCredential>>("DeviceCredential", &format!("d{number}"), *created, spec)),
                key(),
            )
        });
        let policies = self.policies.iter().enumerate().map(|(number, (created, spec))| {
            Arc::new(object::<Stored<AclPolicy>>("AclPolicy", &format!("p{number}"), *created, spec))
        });
        Gathered {
            claims: wanted_claims(&tenant, false),
            tenant: Arc::new(tenant),
            ticket_key: Secret::new(vec![1; 32]),
            scram: mqtt_access_core::scram::ScramSettings::default(),
            revoked_tokens: std::collections::BTreeSet::new(),
            incumbents: None,
            seniority: crate::compile::Seniority::Known,
            will_grace_seconds: 0,
            acl_delivery: mqtt_access_core::bundle::AclDelivery::default(),
            access_keys: [("backend".to_owned(), key())].into(),
            devices: devices.collect(),
            policies: policies.collect(),
            beyond: Beyond::default(),
            before: None,
            session_expiry: 0,
        }
    }
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, created: i64, spec: &Value) -> K {
    let created = k8s_openapi::jiff::Timestamp::from_second(created).unwrap().to_string();
    let metadata = json!({"namespace": "ns", "name": name, "creationTimestamp": created, "generation": 1});
    let object = json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn key() -> Key {
    let secret_name = "s".to_owned();
    Key::Ready { id: None, secret: Secret::new(vec![1; 32]), rotated: Box::default(), secret_name }
}

pub(super) fn allowed(compiled: &Compiled, client_id: &str, topic: &str) -> bool {
    verdict(compiled, client_id, topic).is_empty()
}

/// Why a device may not publish; empty where it may.
pub(super) fn verdict(compiled: &Compiled, client_id: &str, topic: &str) -> String {
    let index = TenantIndex::new(compiled.bundle.clone(), 0).unwrap();
    let personas = index.device_personas(client_id);
    refusal(&index, personas.first().expect("a device"), &publish(topic))
}

/// The same of a client that logs in with the access key.
pub(super) fn verdict_of_key(compiled: &Compiled, client_id: &str, topic: &str) -> String {
    let index = TenantIndex::new(compiled.bundle.clone(), 0).unwrap();
    let mode = mqtt_access_core::client::Mode::Signature;
    refusal(&index, &index.access_key_persona("backend", mode, client_id).expect("a key"), &publish(topic))
}

/// All that is allowed, of these clients and topics.
pub(super) fn all_allowed(compiled: &Compiled, clients: &[&str], topics: &[&str]) -> Vec<String> {
    let index = TenantIndex::new(compiled.bundle.clone(), 0).unwrap();
    let mut allowed = Vec::new();
    for client in clients {
        let key = index.access_key_persona("backend", mqtt_access_core::client::Mode::Signature, client);
        for persona in index.device_personas(client).iter().chain(&key) {
            for topic in topics {
                for request in [publish(topic), subscribe(topic)] {
                    if refusal(&index, persona, &request).is_empty() {
                        let action = request.action().as_str();
                        allowed.push(format!("{client} by {} {action} {topic}", persona.mode().as_str()));
                    }
                }
            }
        }
    }
    allowed
}

fn publish(topic: &str) -> Request<'_> {
    request(Target::Publish(TopicName::parse(topic).unwrap()))
}

fn subscribe(topic: &str) -> Request<'_> {
    request(Target::Subscribe(Filter::parse(topic).unwrap()))
}

fn request(target: Target<'_>) -> Request<'_> {
    Request { target, qos: 0.try_into().ok(), retain: Some(false), notation: Notation::Mqtt }
}

fn refusal(index: &TenantIndex, persona: &Persona<'_>, request: &Request<'_>) -> String {
    let principal = persona.principal();
    let verdict = match persona.admitted(0) {
        Ok(()) => index.rules().decide(&principal, request),
        Err(reason) => Verdict::deny(reason),
    };
    if verdict.is_allow() { String::new() } else { verdict.cause().to_string() }
}
