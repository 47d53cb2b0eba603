//! Login names: looked up in the tenant that owns the client ID, whatever they look like.

use mqtt_access_core::bundle::{Bundle, ClientIds};
use mqtt_access_core::index::{BrokerIndex, Credentials, Login, LoginStep, Session, TenantIndex};
use mqtt_access_core::password::{Memo, Verifier};
use mqtt_access_core::scram::{Keys, ScramAlgorithm, salt};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::verdict::Reason;
use mqtt_access_tests::two_tenants::{FOREIGN, NOW, PENCIL, acme, globex, serve};

use crate::attempt::publish;

fn log_in(bundles: [Bundle; 2], name: &str, password: &str, client_id: &str) -> Result<String, Reason> {
    let index = serve(bundles);
    let credentials = Credentials { username: name, password: password.as_bytes(), client_id };
    let tenant = |login: Login| login.attributes()["tenant_id"].clone();
    index.login(&credentials, NOW).result.map(tenant)
}

#[test]
fn a_name_that_two_tenants_have_opens_the_one_whose_client_id_it_comes_with() {
    for (name, password, client_id, expected) in [
        ("ada", PENCIL, "GID_acme@@@ada-1", Ok("shop.acme")),
        ("ada", FOREIGN, "GID_globex@@@ada-1", Ok("shop.globex")),
        ("ada", FOREIGN, "GID_acme@@@ada-1", Err(Reason::WrongProof)),
        ("ada", PENCIL, "GID_globex@@@ada-1", Err(Reason::WrongProof)),
        ("ada", PENCIL, "ada", Err(Reason::UnknownClientId)),
        ("fast", PENCIL, "GID_acme@@@fast", Ok("shop.acme")),
        ("fast", FOREIGN, "GID_globex@@@fast", Ok("shop.globex")),
        ("fast", FOREIGN, "GID_acme@@@fast", Err(Reason::WrongProof)),
        ("scram", PENCIL, "GID_acme@@@scram", Err(Reason::KeyWithoutSecret)),
    ] {
        for bundles in [[acme(), globex()], [globex(), acme()]] {
            let expected = expected.map(str::to_owned);
            assert_eq!(log_in(bundles, name, password, client_id), expected, "{name} {password} {client_id}");
        }
    }
}

#[test]
fn a_ticket_of_one_of_two_namesakes_is_nothing_to_the_other() {
    let index = serve([acme(), globex()]);
    let login = |password: &str, client_id| {
        let credentials = Credentials { username: "ada", password: password.as_bytes(), client_id };
        index.login(&credentials, NOW).result.unwrap().ticket().to_owned()
    };
    let tickets = [login(PENCIL, "GID_acme@@@ada-1"), login(FOREIGN, "GID_globex@@@ada-1")];
    for (ticket, client_id, topic, expected) in [
        (&tickets[0], "GID_acme@@@ada-1", "acme/x", "shop/all rules[0]"),
        (&tickets[0], "GID_acme@@@ada-1", "globex/x", "NotGranted"),
        (&tickets[0], "GID_globex@@@ada-1", "globex/x", "TicketForeign"),
        (&tickets[1], "GID_globex@@@ada-1", "globex/x", "shop/all rules[0]"),
        (&tickets[1], "GID_acme@@@ada-1", "acme/x", "TicketForeign"),
    ] {
        let judged = publish(&index, Session { ticket, client_id }, topic, NOW);
        assert_eq!(judged.verdict.cause().to_string(), expected, "{client_id} {topic}");
    }
}

/// Names that are a mode's username, nearly one, or nothing that a name should be.
fn odd_names() -> Vec<String> {
    let odd =
        ["", "Token|a|b", "Token|AK.1|mqtt-acme", "Signature|ada|", "|", "||", "ada\0", "\0", " ada", "ADA", "ada|"];
    let known = ["AK.1", "DC.1", "GID_acme@@@dev1", "fast\n", "a\u{301}da", "${clientid}", "$ada", "ada/x", "+", "#"];
    let long = ["x".repeat(65_536), "ada".repeat(21_845), "|".repeat(65_536)];
    odd.into_iter().chain(known).map(str::to_owned).chain(long).collect()
}

#[test]
fn whatever_a_name_looks_like_it_is_nobodys() {
    let index = serve([acme(), globex()]);
    for name in odd_names() {
        for client_id in ["GID_acme@@@ada-1", "GID_acme@@@fast", "GID_acme@@@slow", "GID_globex@@@ada-1", "", "ada"] {
            for password in [PENCIL, "", FOREIGN] {
                let credentials = Credentials { username: &name, password: password.as_bytes(), client_id };
                assert!(index.login(&credentials, NOW).result.is_err(), "{name:.40} {client_id}");
            }
            let verdict = index.scram(&name, client_id, NOW);
            assert!(verdict.result.is_err() && verdict.keys.is_some(), "{name:.40} {client_id}");
        }
    }
}

#[test]
fn names_that_a_bundle_should_not_have_open_their_own_credential_only() {
    for name in odd_names() {
        let mut bundle = acme();
        bundle.devices[4].login.as_mut().unwrap().name.clone_from(&name);
        let key = bundle.tenant.ticket_key.clone();
        let index = serve([bundle, globex()]);
        let login = |client_id: &str, password: &str| {
            let credentials = Credentials { username: &name, password: password.as_bytes(), client_id };
            index.login(&credentials, NOW).result.is_ok()
        };
        // The three parts of a mode's username are never a login name.
        let reachable = !["Token|a|b", "Token|AK.1|mqtt-acme"].contains(&name.as_str());
        assert_eq!(login("GID_acme@@@ada-1", PENCIL), reachable, "{name:.40}");
        assert!(!login("GID_acme@@@ada-1", "") && !login("GID_globex@@@ada-1", PENCIL) && !login("", PENCIL));
        assert!(!login("GID_acme@@@dev1", PENCIL) && !login("GID_acme@@@ada-reserved", PENCIL), "{name:.40}");
        // A record is only ever given to whom it belongs; everybody else gets the decoy of the name.
        for (client_id, own) in [("GID_acme@@@ada-1", true), ("GID_acme@@@dev1", false)] {
            let keys = index.scram(&name, client_id, NOW).keys.unwrap();
            let short = if name.len() > 1024 { "" } else { &name };
            let decoy = Keys::decoy(ScramAlgorithm::Sha256, &key, short);
            assert_eq!(keys == decoy, !own, "{name:.40} {client_id}");
        }
    }
}

#[test]
fn a_tenant_without_prefixes_owns_every_client_id_and_no_name_twice() {
    let alone = || {
        let mut bundle = acme();
        bundle.tenant.claims.client_id_prefixes.clear();
        bundle.devices[4].client_id = ClientIds::Prefix { prefix: String::new() };
        bundle
    };
    let index = serve([alone()]);
    let login = |client_id: &str| {
        let credentials = Credentials { username: "ada", password: PENCIL.as_bytes(), client_id };
        index.login(&credentials, NOW).result.err()
    };
    assert_eq!(login("anything"), None);
    assert_eq!(login(""), Some(Reason::ClientIdOutsidePrefixes));
    assert_eq!(login("\0"), Some(Reason::ClientIdOutsidePrefixes));
    assert_eq!(login("a b"), Some(Reason::ClientIdOutsidePrefixes));
    assert_eq!(login("GID_acme@@@dev1"), Some(Reason::ClientIdTaken));
    // Beside another tenant its claim is a conflict, and the younger one is not served.
    let mut younger = alone();
    younger.tenant.created = 3;
    let index = serve([younger, globex()]);
    assert_eq!(index.tenants().map(TenantIndex::instance_id).collect::<Vec<_>>(), ["mqtt-globex"]);
    assert!(index.tenant_of_client("anything").is_none());
}

#[test]
fn prefixes_of_one_tenant_may_nest() {
    let mut bundle = acme();
    bundle.tenant.claims.client_id_prefixes = ["GID_acme@@@f", "GID_acme@@@", "GID_acme@@@b"].map(str::to_owned).into();
    for (name, client_id) in [("fast", "GID_acme@@@fast"), ("ada", "GID_acme@@@ada-1"), ("slow", "GID_acme@@@slow")] {
        let bundles = [bundle.clone(), globex()];
        assert_eq!(log_in(bundles, name, PENCIL, client_id), Ok("shop.acme".to_owned()), "{client_id}");
    }
}

#[test]
fn a_scram_decoy_is_the_same_whoever_asks_and_has_the_salt_of_the_name() {
    let index = serve([acme(), globex()]);
    let key = acme().tenant.ticket_key;
    let keys = |name: &str, client_id: &str| index.scram(name, client_id, NOW).keys.unwrap();
    let real = keys("scram", "GID_acme@@@scram");
    let decoy = keys("scram", "GID_acme@@@dev1");
    assert_ne!(real, decoy);
    // The salt does not tell that a name exists, or whether it may log in.
    assert_eq!((&real.salt, &decoy.salt), (&salt(&key, "scram"), &salt(&key, "scram")));
    assert_eq!(decoy, keys("scram", "GID_acme@@@other"));
    assert_eq!(keys("nobody", "GID_nobody"), keys("nobody", "GID_acme@@@x"), "acme is the older tenant");
    for length in [decoy.salt.expose(), decoy.stored_key.expose(), decoy.server_key.expose()].map(<[u8]>::len) {
        assert!([real.salt.expose(), real.stored_key.expose()].map(<[u8]>::len).contains(&length));
    }
}

#[test]
fn a_tenant_without_scram_answers_with_a_decoy_where_another_has_it() {
    let mut first = acme();
    first.tenant.scram = None;
    let index = serve([first, globex()]);
    let given = |client_id: &str| index.scram("scram", client_id, NOW).keys;
    let decoy = Keys::decoy(ScramAlgorithm::Sha256, &globex().tenant.ticket_key, "scram");
    for client_id in ["GID_nobody", "GID_acme@@@scram", "GID_globex@@@x", ""] {
        assert_eq!(given(client_id), Some(decoy.clone()), "{client_id}");
    }
    let mut bundles = [acme(), globex()];
    bundles.iter_mut().for_each(|bundle| bundle.tenant.scram = None);
    assert_eq!(serve(bundles).scram("scram", "GID_acme@@@scram", NOW).keys, None);
}

/// Whether a login is answered from the memo, and remembers the outcome if not.
fn is_recalled(index: &BrokerIndex, memo: &Memo, name: &str, client_id: &str) -> bool {
    let credentials = Credentials { username: name, password: PENCIL.as_bytes(), client_id };
    let LoginStep::Slow(slow) = index.begin_login(&credentials, NOW) else {
        panic!("{name} costs no hash");
    };
    match slow.recall(memo) {
        Ok(_) => true,
        Err(slow) => {
            let _ = slow.check_and_note(memo);
            false
        }
    }
}

#[test]
fn what_one_name_was_found_to_be_is_not_remembered_for_another() {
    let index = serve([acme(), globex()]);
    let memo = Memo::new(Secret::new(vec![3; 32]));
    // The hash of `slow` stands in for those of the others: that its password is known must not show.
    for (name, client_id) in [
        ("slow", "GID_acme@@@slow"),
        ("nobody", "GID_acme@@@slow"),
        ("somebody", "GID_acme@@@slow"),
        ("slow", "GID_nobody"),
        ("", "GID_acme@@@slow"),
        ("nobody", "GID_nobody"),
    ] {
        assert!(!is_recalled(&index, &memo, name, client_id), "{name} {client_id}");
        assert!(is_recalled(&index, &memo, name, client_id), "{name} {client_id}");
    }
}

#[test]
fn a_name_that_nobody_has_costs_what_one_of_the_others_costs_and_always_the_same() {
    let (client_id, other) = ("GID_acme@@@x", "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76");
    let mut bundle = acme();
    bundle.devices[2].login.as_mut().unwrap().password = Some(Verifier::Slow(other.parse().unwrap()));
    let (two_hashes, one_hash) = (serve([bundle, globex()]), serve([acme(), globex()]));
    let has_the_first_hash = |number: u32| {
        let (name, memo) = (format!("nobody-{number}"), Memo::new(Secret::new(vec![3; 32])));
        assert!(!is_recalled(&two_hashes, &memo, &name, client_id));
        assert!(is_recalled(&two_hashes, &memo, &name, client_id), "{name} has one hash");
        is_recalled(&one_hash, &memo, &name, client_id)
    };
    let first = (0..40).filter(|number| has_the_first_hash(*number)).count();
    assert!((5..35).contains(&first), "{first}");
}

#[test]
fn a_password_that_was_checked_counts_for_the_hash_in_force_only() {
    let index = serve([acme(), globex()]);
    let client_id = "GID_acme@@@slow";
    let checked = |name: &str, password: &str| {
        let credentials = Credentials { username: name, password: password.as_bytes(), client_id };
        match index.begin_login(&credentials, NOW) {
            LoginStep::Slow(slow) => slow.check(),
            LoginStep::Done(_) => panic!("{name} costs no hash"),
        }
    };
    let right = checked("slow", PENCIL);
    assert!(index.finish_login(&right, NOW).result.is_ok());
    let finish = |change: fn(&mut Bundle)| {
        let mut bundle = acme();
        change(&mut bundle);
        serve([bundle, globex()]).finish_login(&right, NOW).result.err()
    };
    assert_eq!(finish(|_| {}), None);
    assert_eq!(finish(|bundle| bundle.tenant.suspended = true), Some(Reason::Suspended));
    assert_eq!(finish(|bundle| bundle.devices[3].disabled = true), Some(Reason::Disabled));
    assert_eq!(finish(|bundle| bundle.devices[3].login = None), Some(Reason::UnknownKey));
    assert_eq!(finish(|bundle| bundle.devices.clear()), Some(Reason::UnknownKey));
    assert_eq!(finish(|bundle| bundle.devices[3].client_id = "GID_acme@@@x".into()), Some(Reason::ClientIdMismatch));
    let replaced = |bundle: &mut Bundle| {
        let hash = "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76";
        bundle.devices[3].login.as_mut().unwrap().password = Some(Verifier::Slow(hash.parse().unwrap()));
    };
    assert_eq!(finish(replaced), Some(Reason::WrongProof), "the same password, but not what was compared");
    // The hash that stands in for others may well fit: it opens nothing, and neither does a wrong password.
    for (name, password) in [("nobody", PENCIL), ("fast", "wrong"), ("slow", "wrong"), ("scram", PENCIL)] {
        assert!(index.finish_login(&checked(name, password), NOW).result.is_err(), "{name}");
    }
}
