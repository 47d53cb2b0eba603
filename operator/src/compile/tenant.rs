//! The tenant's own part of a bundle: settings, claims, access keys.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use mqtt_access_core::bundle::{AccessKey, Claims, KeyUse, Resting, Revocations, SessionRules, Space, Spares, Tenant};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, access_key_id};
use mqtt_access_crds as crds;
use mqtt_access_crds::{
    AuthMode, Authentication, MqttTenant, MqttTenantSpec, SignatureAlgorithm, TokenLimits, TokenRevocations,
};

use super::exclusive::{Shares, is_exclusive};
use super::{Gathered, Key, KeyReport, RotationReport, created};

/// What a tenant claims. Topics that begin with `$` are the broker's own and are left out unless its configuration
/// allows them.
#[must_use]
pub fn wanted_claims(tenant: &MqttTenant, dollar_topics: bool) -> Claims {
    let owned = |filter: &str| dollar_topics || !filter.starts_with('$');
    let space = tenant.spec.topic_space.iter().filter(|claim| owned(&claim.filter));
    Claims {
        instance_id: tenant.spec.instance_id.clone(),
        client_id_prefixes: tenant.spec.client_id_prefixes.clone(),
        topic_space: space
            .map(|claim| Space { filter: claim.filter.clone(), shared_with: claim.shared_with.clone() })
            .collect(),
    }
}

pub(super) fn compile(gathered: &Gathered, shares: &Shares) -> (Tenant, Vec<KeyReport>) {
    let tenant = &gathered.tenant;
    // Without `..`: a field that is added to the spec must be thought of here.
    let MqttTenantSpec {
        instance_id: _,
        broker: _,
        suspended,
        client_id_prefixes: _,
        topic_space: _,
        client_attributes,
        access_keys: _,
        authentication,
        token_revocations,
        superusers_allowed,
        // Whatever exceeds them is not in the bundle.
        limits: _,
        exclusive_client_ids: _,
        people_client_id_prefixes,
        released_client_ids: _,
    } = &tenant.spec;
    let exclusive_client_ids = is_exclusive(&tenant.spec);
    let people_prefixes = if exclusive_client_ids { people_client_id_prefixes.clone() } else { Vec::new() };
    let Authentication { modes, signature_algorithms, token: TokenLimits { max_ttl_seconds, require_sub } } =
        authentication;
    let (access_keys, reports) = access_keys(gathered, shares);
    let compiled = Tenant {
        namespace: tenant.namespace().unwrap_or_default(),
        name: tenant.name_any(),
        uid: tenant.uid().unwrap_or_default(),
        created: created(tenant.as_ref()),
        claims: gathered.claims.clone(),
        suspended: *suspended,
        client_attributes: client_attributes.clone(),
        access_keys,
        modes: modes.iter().map(|mode| self::mode(*mode)).collect(),
        signature_algorithms: signature_algorithms.iter().map(|algorithm| self::algorithm(*algorithm)).collect(),
        superusers_allowed: *superusers_allowed,
        ticket_key: gathered.ticket_key.clone(),
        scram: Some(gathered.scram),
        token_max_ttl: *max_ttl_seconds,
        token_revocations: revocations(token_revocations, gathered),
        sessions: SessionRules {
            require_sub: *require_sub,
            will_grace_seconds: gathered.will_grace_seconds,
            exclusive_client_ids,
            people_prefixes,
            resting: Resting::default(),
        },
        acl_delivery: gathered.acl_delivery,
    };
    (compiled, reports)
}

fn revocations(spec: &TokenRevocations, gathered: &Gathered) -> Revocations {
    let TokenRevocations { issued_before, ids } = spec;
    Revocations {
        issued_before: issued_before.as_ref().map(|time| time.0.as_second()),
        ids: ids.iter().chain(&gathered.revoked_tokens).cloned().collect(),
    }
}

fn key_use(key_use: crds::KeyUse) -> KeyUse {
    match key_use {
        crds::KeyUse::Connect => KeyUse::Connect,
        crds::KeyUse::IssueTokens => KeyUse::IssueTokens,
        crds::KeyUse::ManageDevices => KeyUse::ManageDevices,
    }
}

fn mode(mode: AuthMode) -> Mode {
    match mode {
        AuthMode::Signature => Mode::Signature,
        AuthMode::DeviceCredential => Mode::DeviceCredential,
        AuthMode::Token => Mode::Token,
        AuthMode::Scram => Mode::Scram,
        AuthMode::Password => Mode::Password,
    }
}

fn algorithm(algorithm: SignatureAlgorithm) -> MacAlgorithm {
    match algorithm {
        SignatureAlgorithm::HmacSha1 => MacAlgorithm::HmacSha1,
        SignatureAlgorithm::HmacSha256 => MacAlgorithm::HmacSha256,
    }
}

fn access_keys(gathered: &Gathered, shares: &Shares) -> (Vec<AccessKey>, Vec<KeyReport>) {
    let mut taken = BTreeSet::new();
    let keys = gathered.tenant.spec.access_keys.iter().map(|spec| {
        let default_id = access_key_id(&gathered.claims.instance_id, &spec.name);
        let (id, secret, spares, report) = match gathered.access_keys.get(&spec.name) {
            Some(Key::Ready { id, secret, rotated, secret_name }) => {
                let id = id.clone().unwrap_or(default_id);
                if taken.insert(id.clone()) {
                    let report = Ok((id.clone(), secret_name.clone(), rotated.report()));
                    (id, Some(secret.clone()), rotated.spares.clone(), report)
                } else {
                    let problem = format!("the access-key ID `{id}` is used by an earlier key; give each key its own");
                    (String::new(), None, Spares::default(), Err(problem))
                }
            }
            Some(Key::Problem { reason: _, message }) => (default_id, None, Spares::default(), Err(message.clone())),
            Some(Key::Login { .. }) | None => {
                (default_id, None, Spares::default(), Err("its Secret was not looked at; reconcile again".to_owned()))
            }
        };
        let (client_id_prefixes, prefix_problem) = shares.of_key(&gathered.tenant.spec, spec);
        let key = AccessKey {
            name: spec.name.clone(),
            id,
            secret,
            spares,
            disabled: spec.disabled,
            generated: spec.secret_ref.is_none(),
            uses: spec.uses.iter().map(|use_| key_use(*use_)).collect(),
            client_id_prefixes,
        };
        (key, KeyReport { prefix_problem, ..report_of(&spec.name, report) })
    });
    keys.unzip()
}

fn report_of(name: &str, outcome: Result<(String, String, RotationReport), String>) -> KeyReport {
    let name = name.to_owned();
    match outcome {
        Ok((id, secret_name, rotation)) => {
            let (id, secret_name, rotation) = (Some(id), Some(secret_name), Some(rotation));
            KeyReport { name, id, secret_name, rotation, problem: None, prefix_problem: None }
        }
        Err(problem) => {
            let problem = Some(problem);
            KeyReport { name, id: None, secret_name: None, rotation: None, problem, prefix_problem: None }
        }
    }
}
