use std::sync::Arc;

use mqtt_access_core::password::Verifier;
use mqtt_access_core::scram::ScramSettings;
use mqtt_access_crds::MqttTenant;
use serde_json::{Value, json};

use super::*;
use crate::compile::{Incumbents, Seniority, wanted_claims};

/// Devices by their specs; each is older than the next.
fn compiled(specs: &[Value]) -> Devices {
    compiled_with(specs, None, Seniority::Known)
}

fn compiled_with(specs: &[Value], incumbents: Option<Incumbents>, seniority: Seniority) -> Devices {
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
        before: None,
        session_expiry: 0,
        claims: wanted_claims(&tenant, false),
        tenant: Arc::new(tenant),
        ticket_key: Secret::new(vec![1; 32]),
        scram: ScramSettings::default(),
        acl_delivery: mqtt_access_core::bundle::AclDelivery::default(),
        will_grace_seconds: 0,
        revoked_tokens: std::collections::BTreeSet::new(),
        access_keys: BTreeMap::new(),
        devices: devices.rev().collect(),
        policies: Vec::new(),
        incumbents: incumbents.map(Arc::new),
        seniority,
        beyond: crate::compile::Beyond::default(),
    };
    super::compile(&gathered, &Shares::default(), &mut Book::new(&gathered.tenant.spec.limits), 0)
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
    let mut compiled = compiled(&[person("a-", "a-1"), device("a-1")]);
    let (devices, reports) = (compiled.records(), compiled.reports);
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

/// The names that are published once devices with these specs were compiled, the last one as the first device.
fn published(specs: &[Value]) -> Incumbents {
    let mut devices = compiled(specs).records();
    // What is published is what it says, in whatever order and under whatever key.
    devices.reverse();
    Incumbents::of(&devices)
}

#[test]
fn a_name_stays_with_the_credential_that_is_published_with_it_even_if_another_is_older() {
    use DeviceReady::{ClientIdTaken, LoginNameTaken, Ready};
    let other = json!({"clientId": "a-2", "mechanisms": ["Password"]});
    let before = Some(published(&[other.clone(), device("a-1")]));
    for seniority in [Seniority::Known, Seniority::Unknown] {
        let now = compiled_with(&[device("a-1"), device("a-1")], before.clone(), seniority);
        let reasons: Vec<_> = now.reports.values().map(|report| report.reason).collect();
        assert_eq!(reasons, [ClientIdTaken, Ready], "{seniority:?}");
        let message = &now.reports["d0"].message;
        assert!(message.contains("belongs to the DeviceCredential `d1`"), "{message}");
    }
    let before = Some(published(&[person("a-", "x"), person("a-", "y")]));
    let now = compiled_with(&[person("a-", "y"), person("a-", "y")], before.clone(), Seniority::Known);
    assert_eq!(now.reports.into_values().map(|it| it.reason).collect::<Vec<_>>(), [LoginNameTaken, Ready]);
    // Whoever gives a name up no longer has it.
    let now = compiled_with(&[person("a-", "y"), person("a-", "z")], before, Seniority::Known);
    assert_eq!(now.reports.into_values().map(|it| it.reason).collect::<Vec<_>>(), [Ready, Ready]);
}

#[test]
fn what_nobody_is_published_with_nobody_gets_where_age_is_unknown() {
    let specs = [device("a-1"), person("b-", "x"), device("a-1"), person("a-", "x"), device("a-2")];
    let mut found = compiled_with(&specs, Some(Incumbents::default()), Seniority::Unknown);
    let reasons: Vec<_> = found.reports.values().map(|report| report.reason).collect();
    let (client_id, login) = (DeviceReady::ClientIdTaken, DeviceReady::LoginNameTaken);
    assert_eq!(reasons, [client_id, login, client_id, login, DeviceReady::Ready]);
    let contested = |kind, name: &str, devices: [&str; 2]| Contested {
        kind,
        name: name.to_owned(),
        devices: devices.map(str::to_owned).to_vec(),
    };
    let expected = [
        contested(NameKind::ClientId, "a-1", ["d0", "d2"]),
        contested(NameKind::LoginName, "a-1", ["d0", "d2"]),
        contested(NameKind::LoginName, "x", ["d1", "d3"]),
    ];
    assert_eq!(found.contested, expected);
    let records = found.records();
    let of = |client_id: &str| records.iter().find(|device| device.client_id == ClientIds::from(client_id));
    let reserved = of("a-1").unwrap();
    assert!(
        reserved.disabled && reserved.secret.is_none() && reserved.login.is_none(),
        "nobody else may use it either"
    );
    // The reservation is nobody's: the next time nobody is published with it.
    let again = compiled_with(&specs, Some(Incumbents::of(&records)), Seniority::Unknown);
    assert_eq!(again.contested, expected);
}
