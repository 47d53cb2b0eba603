//! Offers that are decoded while something else happens.

mod volume;

use std::collections::BTreeMap;
use std::sync::mpsc;

use mqtt_access_core::bundle::{
    AclDelivery, Bundle, Claims, ClientIds, Device, Encoded, Revocations, SessionRules, Space, Spares, Tenant, encode,
};

use super::*;

/// A tenant with as many devices as said.
fn files(name: &str, uid: &str, revision: u64, devices: usize) -> Files {
    let tenant = Tenant {
        namespace: "shop".into(),
        name: name.into(),
        uid: uid.into(),
        created: 1,
        claims: Claims {
            instance_id: name.into(),
            client_id_prefixes: vec![format!("{name}-")],
            topic_space: vec![Space { filter: format!("{name}/#"), shared_with: Vec::new() }],
        },
        suspended: false,
        client_attributes: BTreeMap::new(),
        access_keys: Vec::new(),
        modes: Vec::new(),
        signature_algorithms: Vec::new(),
        superusers_allowed: false,
        ticket_key: "ticket key".into(),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    };
    let device = |number| Device {
        name: format!("d{number}"),
        uid: None,
        client_id: ClientIds::One(format!("{name}-{number}")),
        key_id: format!("DC.{number}"),
        secret: Some("secret".into()),
        login: None,
        labels: BTreeMap::new(),
        client_attributes: BTreeMap::new(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    };
    let bundle = Bundle { tenant, policies: Vec::new(), devices: (0..devices).map(device).collect() };
    let encoded = encode(&bundle).unwrap();
    let index = encoded.index(revision).unwrap();
    let Encoded { shards, .. } = encoded;
    Files::new(index, shards)
}

fn store() -> Arc<Store> {
    Store::in_memory(Clock::new(|| 0))
}

fn key(name: &str) -> TenantKey {
    TenantKey::new("shop", name).unwrap()
}

/// UID and revision of what is in service.
fn held(store: &Store, name: &str) -> Option<(String, u64)> {
    let held = store.lock().held(&key(name))?;
    Some((held.tenant.tenant().uid.clone(), held.tenant.revision()))
}

fn settle(store: &Store, turn: &Turn, checked: Checked) -> Result<Applied, ReloadError> {
    store.update(|book| book.settle(turn, checked))
}

#[test]
fn a_tenant_that_is_forgotten_while_its_bundle_is_decoded_stays_forgotten() {
    let ways: [fn(&Store); 4] = [
        |store| store.remove(&key("acme")),
        |store| store.retain(&BTreeSet::new()),
        |store| store.complete(&BTreeSet::new()),
        |store| assert!(store.replace(BTreeMap::new()).is_empty()),
    ];
    for (forget, in_service) in ways.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let store = store();
        if in_service {
            store.apply(&key("acme"), files("acme", "a", 1, 1)).unwrap();
        }
        let (late, later) = (store.turn(&key("acme")), store.turn(&key("acme")));
        let checked = store.check(&late, files("acme", "a", 2, 2));
        forget(&store);
        assert_eq!(settle(&store, &late, checked).unwrap(), Applied::Superseded);
        assert_eq!(store.apply_in_turn(&later, files("acme", "a", 3, 2)).unwrap(), Applied::Superseded);
        assert_eq!(held(&store, "acme"), None);
        // Made again.
        assert_eq!(store.apply(&key("acme"), files("acme", "b", 1, 1)).unwrap(), Applied::Changed);
        assert_eq!(held(&store, "acme"), Some(("b".to_owned(), 1)));
    }
}

#[test]
fn the_later_offer_wins_whichever_is_decoded_first() {
    let store = store();
    let (first, second) = (store.turn(&key("acme")), store.turn(&key("acme")));
    let checked = store.check(&first, files("acme", "old", 9, 1));
    assert_eq!(store.apply_in_turn(&second, files("acme", "new", 1, 1)).unwrap(), Applied::Changed);
    assert_eq!(settle(&store, &first, checked).unwrap(), Applied::Superseded);
    assert_eq!(held(&store, "acme"), Some(("new".to_owned(), 1)));
    // One that is refused overtakes nothing.
    let (first, second) = (store.turn(&key("acme")), store.turn(&key("acme")));
    store.apply_in_turn(&second, Files::default()).unwrap_err();
    assert_eq!(store.apply_in_turn(&first, files("acme", "new", 2, 1)).unwrap(), Applied::Changed);
}

#[test]
fn an_offer_is_judged_by_what_is_in_service_when_it_is_decoded() {
    let store = store();
    let (first, second) = (store.turn(&key("acme")), store.turn(&key("acme")));
    let older = store.check(&second, files("acme", "a", 2, 1));
    assert_eq!(store.apply_in_turn(&first, files("acme", "a", 3, 1)).unwrap(), Applied::Changed);
    let refused = settle(&store, &second, older);
    assert!(matches!(refused, Err(ReloadError::RevisionBack { offered: 2, held: 3 })), "{refused:?}");
    // What was in service when decoding began, and no longer is.
    let again = store.turn(&key("acme"));
    let unchanged = store.check(&again, files("acme", "a", 3, 1));
    assert_eq!(settle(&store, &again, unchanged).unwrap(), Applied::Unchanged);
}

#[test]
fn a_large_bundle_delays_no_other_tenant() {
    let store = store();
    let large = files("acme", "a", 1, 60_000);
    let small: Vec<Files> = (1..=5).map(|revision| files("globex", "g", revision, 1)).collect();
    let (started, starts) = mpsc::channel();
    let slow = {
        let store = Arc::clone(&store);
        std::thread::spawn(move || {
            let turn = store.turn(&key("acme"));
            started.send(()).unwrap();
            store.apply_in_turn(&turn, large).unwrap()
        })
    };
    starts.recv().unwrap();
    // So that it is being decoded by now.
    std::thread::sleep(std::time::Duration::from_millis(5));
    for files in small {
        assert_eq!(store.apply(&key("globex"), files).unwrap(), Applied::Changed);
    }
    assert_eq!(held(&store, "acme"), None, "the large one was decoded first");
    assert_eq!(slow.join().unwrap(), Applied::Changed);
}
