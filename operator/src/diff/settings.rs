//! What is different about a tenant and its credentials, whatever the rules say.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::bundle::{AccessKey, ClientIds, Device, SessionRules, Tenant};
use mqtt_access_core::index::TenantIndex;
use serde::Serialize;

pub(super) fn compare(before: &TenantIndex, after: &TenantIndex) -> Vec<String> {
    let mut lines = tenant(before.tenant(), after.tenant());
    let keys = |index: &TenantIndex| -> BTreeMap<String, AccessKey> {
        index.tenant().access_keys.iter().map(|key| (key.name.clone(), key.clone())).collect()
    };
    lines.extend(named("access key", &keys(before), &keys(after), access_key));
    lines.extend(named("DeviceCredential", &devices(before), &devices(after), device));
    lines
}

fn devices(index: &TenantIndex) -> BTreeMap<String, Device> {
    let devices = index.devices().filter_map(|persona| persona.device());
    devices.map(|device| (device.name.clone(), device.clone())).collect()
}

/// What comes, what goes, and how what stays is different.
fn named<T>(
    kind: &str,
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    differ: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let lines = names.into_iter().flat_map(|name| match (before.get(name), after.get(name)) {
        (Some(before), Some(after)) => {
            differ(before, after).into_iter().map(|line| format!("~ {kind} {name}: {line}")).collect()
        }
        (Some(_), None) => vec![format!("- {kind} {name}")],
        (None, _) => vec![format!("+ {kind} {name}")],
    });
    lines.collect()
}

fn tenant(before: &Tenant, after: &Tenant) -> Vec<String> {
    // Without `..`: a setting that is added to a tenant must be thought of here.
    let Tenant {
        namespace: _,
        name: _,
        uid: _,
        created: _,
        claims,
        suspended,
        client_attributes,
        access_keys: _,
        modes,
        signature_algorithms,
        superusers_allowed,
        ticket_key: _,
        scram,
        token_max_ttl,
        token_revocations,
        sessions: SessionRules { require_sub, will_grace_seconds, exclusive_client_ids, people_prefixes, resting: _ },
        acl_delivery,
    } = before;
    let lines = [
        setting("instanceId", &claims.instance_id, &after.claims.instance_id),
        setting("clientIdPrefixes", &claims.client_id_prefixes, &after.claims.client_id_prefixes),
        setting("topicSpace", &claims.topic_space, &after.claims.topic_space),
        setting("suspended", suspended, &after.suspended),
        setting("clientAttributes", client_attributes, &after.client_attributes),
        setting("modes", modes, &after.modes),
        setting("signatureAlgorithms", signature_algorithms, &after.signature_algorithms),
        setting("superusersAllowed", superusers_allowed, &after.superusers_allowed),
        setting("scram", scram, &after.scram),
        setting("token.maxTtlSeconds", token_max_ttl, &after.token_max_ttl),
        setting("tokenRevocations", token_revocations, &after.token_revocations),
        setting("token.requireSub", require_sub, &after.sessions.require_sub),
        setting("willGraceSeconds", will_grace_seconds, &after.sessions.will_grace_seconds),
        setting("exclusiveClientIds", exclusive_client_ids, &after.sessions.exclusive_client_ids),
        setting("peopleClientIdPrefixes", people_prefixes, &after.sessions.people_prefixes),
        setting("aclDelivery", acl_delivery, &after.acl_delivery),
    ];
    lines.into_iter().flatten().map(|line| format!("~ {line}")).collect()
}

fn access_key(before: &AccessKey, after: &AccessKey) -> Vec<String> {
    let AccessKey { name: _, id, secret, spares: _, disabled, generated: _, uses, client_id_prefixes } = before;
    let lines = [
        setting("id", id, &after.id),
        setting("usable", &secret.is_some(), &after.secret.is_some()),
        setting("disabled", disabled, &after.disabled),
        setting("uses", uses, &after.uses),
        setting("clientIdPrefixes", client_id_prefixes, &after.client_id_prefixes),
    ];
    lines.into_iter().flatten().collect()
}

/// Labels and attributes count as far as rules ask for them.
fn device(before: &Device, after: &Device) -> Vec<String> {
    let Device {
        name: _,
        uid: _,
        brought_along: _,
        client_id,
        key_id,
        secret,
        spares: _,
        login,
        labels: _,
        client_attributes: _,
        disabled,
        superuser,
        expires_at,
        rests_until: _,
    } = before;
    let ways = |device: &Device| -> (Option<String>, bool, bool) {
        let login = device.login.as_ref();
        let name = login.map(|login| login.name.clone());
        (name, login.is_some_and(|login| login.scram.is_some()), login.is_some_and(|login| login.password.is_some()))
    };
    let ids = |ids: &ClientIds| match ids {
        ClientIds::One(one) => one.clone(),
        ClientIds::Prefix { prefix } => format!("{prefix}*"),
    };
    let (usable, usable_after) = (secret.is_some() || login.is_some(), after.secret.is_some() || after.login.is_some());
    let (name, scram, password) = ways(before);
    let (name_after, scram_after, password_after) = ways(after);
    let lines = [
        setting("client ID", &ids(client_id), &ids(&after.client_id)),
        setting("key ID", key_id, &after.key_id),
        setting("usable", &usable, &usable_after),
        setting("login name", &name, &name_after),
        setting("SCRAM", &scram, &scram_after),
        setting("password", &password, &password_after),
        setting("disabled", disabled, &after.disabled),
        setting("superuser", superuser, &after.superuser),
        setting("expiresAt", expires_at, &after.expires_at),
    ];
    lines.into_iter().flatten().collect()
}

fn setting<T: PartialEq + Serialize>(name: &str, before: &T, after: &T) -> Option<String> {
    let shown = |value: &T| serde_json::to_string(value).unwrap_or_default();
    (before != after).then(|| format!("{name}: {} -> {}", shown(before), shown(after)))
}
