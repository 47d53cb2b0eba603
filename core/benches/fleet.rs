//! A factory: devices of two kinds, and policies as people write them.

use mqtt_access_core::bundle::{
    AclDelivery, Bundle, Claims, ClientIds, Device, Revocations, SessionRules, Space, Spares, Tenant,
};
use mqtt_access_core::client::{Map, Mode};
use mqtt_access_core::credential::{MacAlgorithm, device_key_id};
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Selector, Subject, Topics};
use mqtt_access_core::secret::Secret;

pub(crate) const INSTANCE_ID: &str = "mqtt-acme";
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789a";

/// Rules come in policies of ten.
const RULES_OF_A_POLICY: usize = 10;

pub(crate) fn bundle(rules: usize, devices: usize) -> Bundle {
    let policies = (0..rules.div_ceil(RULES_OF_A_POLICY)).map(policy).collect();
    Bundle { tenant: tenant(), policies, devices: (0..devices).map(device).collect() }
}

pub(crate) fn client_id(number: usize) -> String {
    format!("GID_acme@@@d{number}")
}

pub(crate) fn key_id(number: usize) -> String {
    device_key_id(INSTANCE_ID, &client_id(number))
}

fn tenant() -> Tenant {
    let space = Space { filter: "acme/#".to_owned(), shared_with: Vec::new() };
    Tenant {
        namespace: "acme".to_owned(),
        name: "factory".to_owned(),
        uid: "uid".to_owned(),
        created: 0,
        claims: Claims {
            instance_id: INSTANCE_ID.to_owned(),
            client_id_prefixes: vec!["GID_acme@@@".to_owned()],
            topic_space: vec![space],
        },
        suspended: false,
        client_attributes: Map::new(),
        access_keys: Vec::new(),
        modes: vec![Mode::DeviceCredential],
        signature_algorithms: vec![MacAlgorithm::HmacSha1, MacAlgorithm::HmacSha256],
        superusers_allowed: false,
        ticket_key: Secret::new(vec![7; 32]),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

fn device(number: usize) -> Device {
    let kind = if number.is_multiple_of(2) { "press" } else { "lamp" };
    Device {
        name: format!("d{number}"),
        uid: Some(format!("0b9f5a52-8a4b-4e6c-9d11-{number:012}")),
        client_id: ClientIds::One(client_id(number)),
        key_id: key_id(number),
        secret: Some(Secret::from(SECRET)),
        login: None,
        labels: [("kind".to_owned(), kind.to_owned())].into(),
        client_attributes: Map::new(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    }
}

/// The policy of one production line: of every ten rules one denies, and every third line is for everyone.
fn policy(line: usize) -> Policy {
    let everyone = Subject { everyone: true, ..Subject::default() };
    let labels: Map = [("kind".to_owned(), "press".to_owned())].into();
    let selector = Selector { match_labels: labels, ..Selector::default() };
    let presses = Subject { device_selector: Some(selector), ..Subject::default() };
    let subjects = vec![if line.is_multiple_of(3) { everyone } else { presses }];
    let line = line * RULES_OF_A_POLICY;
    let rules = (0..).zip(line..line + RULES_OF_A_POLICY).map(|(index, line)| match index {
        9 => {
            rule(index, Effect::Deny, &["acme/+/${clientid}/firmware".to_owned(), format!("acme/line{line}/secret/#")])
        }
        _ => {
            rule(index, Effect::Allow, &[format!("acme/line{line}/${{clientid}}/#"), format!("acme/line{line}/all/+")])
        }
    });
    Policy { name: format!("line-{line:05}"), subjects, rules: rules.collect() }
}

fn rule(index: u32, effect: Effect, topics: &[String]) -> Rule {
    let actions = [Action::Publish, Action::Subscribe].into();
    Rule { index, effect, actions, topics: Topics::Listed(topics.to_vec()), qos: None, retain: None }
}
