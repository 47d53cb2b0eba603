use std::sync::Arc;

use mqtt_access_core::password::Verifier;
use mqtt_access_core::scram::ScramSettings;
use mqtt_access_crds::MqttTenant;
use serde_json::{Value, json};

use super::*;
use crate::compile::wanted_claims;

/// Devices by their specs; each is older than the next.
fn compiled(specs: &[Value]) -> Devices {
    let spec = json!({"instanceId": "i", "clientIdPrefixes": ["a-", "b-"]});
    let tenant = MqttTenant::new("t", serde_json::from_value(spec).unwrap());
    let devices = specs.iter().enumerate().map(|(number, spec)| {
        let mut spec = spec.clone();
        spec["tenantRef"] = json!({"name": "t"});
        let object = json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": "DeviceCredential", "spec": spec,
            "metadata": {"name": format!("d{number}"), "creationTimestamp": format!("2026-01-01T00:00:0{number}Z")}});
        let device: Stored<DeviceCredential> = serde_json::from_value(object).unwrap();
        (Arc::new(device), key(&spec))
    });
    let gathered = Gathered {
        claims: wanted_claims(&tenant, false),
        tenant: Arc::new(tenant),
        ticket_key: Secret::new(vec![1; 32]),
        scram: ScramSettings::default(),
        acl_delivery: mqtt_access_core::bundle::AclDelivery::default(),
        revoked_tokens: std::collections::BTreeSet::new(),
        access_keys: BTreeMap::new(),
        devices: devices.rev().collect(),
        policies: Vec::new(),
    };
    super::compile(&gathered, 0)
}

fn key(spec: &Value) -> Key {
    let secret_name = "s".to_owned();
    if spec.get("mechanisms").is_none() {
        return Key::Ready { id: None, secret: Secret::from("key"), rotated: Box::default(), secret_name };
    }
    Key::Login {
        scram: None,
        password: Some(Verifier::Fast(Secret::from("hash"))),
        rotated: Box::default(),
        secret_name,
    }
}

fn reasons(specs: &[Value]) -> Vec<DeviceReady> {
    compiled(specs).reports.into_values().map(|report| report.reason).collect()
}

fn device(client_id: &str) -> Value {
    json!({"clientId": client_id, "mechanisms": ["Password"]})
}

fn person(prefix: &str, username: &str) -> Value {
    json!({"clientIdPrefix": prefix, "username": username, "mechanisms": ["Password"]})
}

#[test]
fn of_two_with_one_login_name_the_older_counts_chosen_or_not() {
    use DeviceReady::{LoginNameTaken, Ready};
    assert_eq!(reasons(&[person("a-", "x"), person("b-", "x")]), [Ready, LoginNameTaken]);
    assert_eq!(reasons(&[device("a-1"), person("a-", "a-1")]), [Ready, LoginNameTaken]);
    assert_eq!(reasons(&[person("a-", "a-1"), device("a-1")]), [Ready, LoginNameTaken]);
    assert_eq!(reasons(&[json!({"clientId": "a-1"}), person("a-", "a-1")]), [Ready, Ready], "a key has no login name");
    let undecodable = json!({"clientId": "a-1", "username": "x", "mechanisms": ["Quantum"]});
    assert_eq!(reasons(&[undecodable, person("a-", "x")]), [DeviceReady::Invalid, LoginNameTaken]);
}

#[test]
fn a_login_name_that_is_taken_keeps_the_client_id_and_nothing_else() {
    let Devices { devices, reports, .. } = compiled(&[person("a-", "a-1"), device("a-1")]);
    assert_eq!(devices[1].client_id, ClientIds::from("a-1"));
    assert_eq!((&devices[1].login, &devices[1].secret), (&None, &None));
    assert_eq!((reports["d1"].username.as_deref(), reports["d1"].secret_name.as_deref()), (None, None));
    assert_eq!(reports["d0"].username.as_deref(), Some("a-1"));
}

#[test]
fn a_prefix_lies_within_the_tenants_and_may_be_shared() {
    use DeviceReady::{ClientIdOutsidePrefix, Ready};
    let shared = [person("a-", "x"), person("a-", "y"), person("a-people-", "z"), device("a-1")];
    assert_eq!(reasons(&shared), [Ready; 4]);
    assert_eq!(reasons(&[person("a", "x"), person("c-", "y")]), [ClientIdOutsidePrefix; 2]);
    assert!(compiled(&[person("c-", "y")]).devices.is_empty());
}
