use mqtt_access_core::bundle::{AclDelivery, Bundle, Claims, Revocations, SessionRules, Space, Tenant};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::secret::Secret;

use super::*;

const OPEN: [File; 2] = [File::Emqx, File::MosquittoAcl];

/// What a tenant says whose section for EMQX takes about so many bytes; Mosquitto's is empty without devices.
fn sections(name: &str, bytes: usize) -> Sections {
    Sections::of(&TenantIndex::new(bundle(name, bytes), 1).unwrap(), 0)
}

pub(in crate::cluster::acl_files) fn bundle(name: &str, bytes: usize) -> Bundle {
    let tenant = Tenant {
        namespace: "ns".to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        created: 0,
        claims: Claims {
            instance_id: name.to_owned(),
            client_id_prefixes: Vec::new(),
            topic_space: vec![Space { filter: "#".to_owned(), shared_with: Vec::new() }],
        },
        suspended: false,
        client_attributes: BTreeMap::new(),
        access_keys: Vec::new(),
        modes: Vec::new(),
        signature_algorithms: Vec::new(),
        superusers_allowed: false,
        ticket_key: Secret::new(vec![1; 32]),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    };
    let topics = (0..bytes.div_ceil(1000)).map(|number| format!("{number:0>990}")).collect();
    let rule = Rule {
        index: 0,
        effect: Effect::Allow,
        actions: [Action::Publish].into(),
        topics: Topics::Listed(topics),
        qos: None,
        retain: None,
    };
    let everyone = Subject { everyone: true, ..Subject::default() };
    let policies = vec![Policy { name: "p".to_owned(), subjects: vec![everyone], rules: vec![rule] }];
    Bundle { tenant, policies, devices: Vec::new() }
}

/// Tenants by name, with about so many bytes each, in a `ConfigMap` of a limited size: its data, and who is closed.
fn joined_within(sizes: &[(&str, usize)], limit: usize) -> (String, Vec<File>, Vec<String>) {
    let tenants = sizes.iter().map(|(name, size)| (ObjectKey::new("ns", *name), sections(name, *size)));
    let tenants: Vec<(ObjectKey, Sections)> = tenants.collect();
    let tenants: Vec<(&ObjectKey, &Sections)> = tenants.iter().map(|(key, sections)| (key, sections)).collect();
    let Joined { data, closed, crowded_out } = joined(&OPEN, &tenants, limit, utf8);
    assert!(data.values().map(String::len).sum::<usize>() <= limit.max(600), "{data:?}");
    assert!(crowded_out.values().all(|files| *files == BTreeSet::from([File::Emqx])), "{crowded_out:?}");
    (data["acl.conf"].clone(), closed, crowded_out.into_keys().map(|key| key.name).collect())
}

#[test]
fn only_the_largest_sections_are_closed_until_the_rest_fits() {
    let sizes = [("a", 40_000), ("b", 60_000), ("c", 50_000), ("d", 1000)];
    let crowded_out = |limit| joined_within(&sizes, limit).2;
    assert!(crowded_out(200_000).is_empty());
    assert_eq!(crowded_out(140_000), ["b"]);
    assert_eq!(crowded_out(90_000), ["b", "c"]);
    assert_eq!(crowded_out(30_000), ["a", "b", "c"]);
    let (text, closed, _) = joined_within(&sizes, 140_000);
    assert!(closed.is_empty() && text.ends_with("{deny, all}.\n"));
    // Everybody else's rules stand as they were, and those of the largest one are replaced as a whole.
    for (name, there) in [("a", true), ("b", false), ("c", true), ("d", true)] {
        let whole = String::from_utf8(
            File::Emqx.of([&sections(name, sizes.iter().find(|it| it.0 == name).unwrap().1)]).expose().to_vec(),
        )
        .unwrap();
        assert_eq!(text.contains(whole.trim_end_matches("{deny, all}.\n")), there, "{name}");
    }
    let deny = "%% ns/b\n%% everything is denied";
    let closed: Vec<&str> = text.split(deny).skip(1).collect();
    assert!(
        closed.len() == 1 && closed[0].contains("{deny, {client_attr, <<\"tenant_id\">>, <<\"ns.b\">>}, all, all}.")
    );
}

#[test]
fn of_sections_alike_the_first_by_name_is_closed() {
    let (_, _, crowded_out) = joined_within(&[("b", 40_000), ("a", 40_000)], 60_000);
    assert_eq!(crowded_out, ["a"]);
}

#[test]
fn what_does_not_fit_at_all_denies_everything_and_is_never_cut() {
    let (text, closed, _) = joined_within(&[("a", 10_000)], 100);
    assert_eq!(closed, [File::Emqx]);
    assert!(text.starts_with("%% too large for Kubernetes") && text.ends_with("{deny, all}.\n"), "{text}");
    let large = sections("a", LIMIT + 10_000);
    let (data, closed) = tenant_data(&OPEN, &large);
    assert_eq!(closed, [File::Emqx]);
    assert!(data["acl.conf"].starts_with("%% too large for Kubernetes"), "{data:?}");
    assert_eq!(tenant_data(&OPEN, &sections("a", 10_000)).1, []);
}

#[test]
fn tenants_are_told_in_which_object_they_have_no_room() {
    let told = no_room(&[File::MosquittoAcl, File::MosquittoPasswords].into());
    let expected = "mosquitto.acl denies everything to the tenant in `acl`, mosquitto.passwords denies everything to the tenant in \
                    `mosquitto-passwords`: its rules do not fit into 1 MiB";
    assert!(told.starts_with(expected), "{told}");
}
