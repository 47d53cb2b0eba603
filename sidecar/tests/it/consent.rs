//! Two tenants that share topics, and what follows at once for open sessions when one of them withdraws its consent: the bundles
//! of the two come one at a time, in any order.

use std::sync::Arc;

use mqtt_access_core::acl_file::File;
use mqtt_access_core::bundle::{AclDelivery, Bundle, Space};
use mqtt_access_sidecar::{TenantKey, keep_acl_files};
use serde_json::{Value, json};

use crate::fixture::{self, DEV1, DEV1_USERNAME, acme_key, device_password, globex_key};
use crate::server::Server;

const SHARED: &str = "acme/dev1/shared";

/// acme, the younger tenant here, with a filter that it shares or not.
fn acme(shares: bool) -> Bundle {
    let mut bundle = fixture::acme();
    bundle.tenant.created = 2;
    bundle.tenant.claims.topic_space = vec![space("acme/#", "mqtt-globex", shares)];
    bundle
}

/// globex, the older one, which owns a part of acme's topics.
fn globex(shares: bool) -> Bundle {
    let mut bundle = fixture::globex();
    bundle.tenant.claims.topic_space = vec![space("acme/+/shared", "mqtt-acme", shares)];
    bundle
}

fn space(filter: &str, other: &str, shares: bool) -> Space {
    Space { filter: filter.to_owned(), shared_with: shares.then(|| other.to_owned()).into_iter().collect() }
}

struct Desk {
    server: Server,
    revision: u64,
    ticket: String,
}

impl Desk {
    async fn start() -> Self {
        let server = Server::empty().await;
        let bundles = [(acme_key(), fixture::files(&acme(true), 1)), (globex_key(), fixture::files(&globex(true), 1))];
        assert!(server.store.replace(bundles.into_iter().collect()).is_empty());
        let ticket = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
        Self { server, revision: 1, ticket }
    }

    fn load(&mut self, key: &TenantKey, bundle: &Bundle) {
        self.revision += 1;
        self.server.store.apply(key, fixture::files(bundle, self.revision)).unwrap();
    }

    async fn publish(&self, topic: &str) -> String {
        self.server.emqx_publish(DEV1, &self.ticket, topic).await.cause().to_owned()
    }

    async fn subscribe(&self, filter: &str) -> String {
        let body = json!({"clientid": DEV1, "username": "x", "action": "subscribe", "topic": filter, "qos": 1,
            "ticket": self.ticket});
        self.server.json("/emqx/v5/authz", &body).await.cause().to_owned()
    }
}

const ALLOWED: &str = "shop/own-topics rules[0]";
const WITHDRAWN: &str = "ConsentWithdrawn";

#[tokio::test]
async fn an_open_session_of_the_younger_tenant_is_narrowed_whoever_withdraws_until_both_consent_again() {
    let mut desk = Desk::start().await;
    assert_eq!(desk.publish(SHARED).await, ALLOWED);
    assert_eq!(desk.subscribe(SHARED).await, ALLOWED);
    for (acme_shares, globex_shares) in [(true, false), (false, false), (false, true)] {
        desk.load(&globex_key(), &globex(globex_shares));
        desk.load(&acme_key(), &acme(acme_shares));
        assert_eq!(desk.publish(SHARED).await, WITHDRAWN, "{acme_shares} {globex_shares}");
        assert_eq!(desk.subscribe(SHARED).await, WITHDRAWN);
        assert_eq!(
            desk.subscribe("acme/dev1/+").await,
            "shop/own-topics rules[1]",
            "a Deny of a policy is named first"
        );
        assert_eq!(desk.publish("acme/dev1/up").await, ALLOWED, "nothing else is taken");
        assert_eq!(desk.publish("acme/dev1/vault").await, "shop/own-topics rules[1]");
    }
    desk.load(&acme_key(), &acme(true));
    assert_eq!((desk.publish(SHARED).await, desk.subscribe(SHARED).await), (ALLOWED.to_owned(), ALLOWED.to_owned()));
    desk.server.stop().await;
}

#[tokio::test]
async fn one_bundle_is_enough_whichever_comes_first() {
    for withdraws_first in [acme_key(), globex_key()] {
        let mut desk = Desk::start().await;
        let bundle = if withdraws_first == acme_key() { acme(false) } else { globex(false) };
        desk.load(&withdraws_first, &bundle);
        assert_eq!(desk.publish(SHARED).await, WITHDRAWN, "{withdraws_first}");
        // With the other one gone, nobody else owns the topics.
        desk.server.store.remove(&globex_key());
        assert_eq!(desk.publish(SHARED).await, ALLOWED);
        desk.server.stop().await;
    }
}

#[tokio::test]
async fn a_filter_that_the_owner_widened_is_withheld_as_it_is_now() {
    let mut desk = Desk::start().await;
    let mut wider = globex(true);
    wider.tenant.claims.topic_space = vec![space("acme/+/#", "mqtt-acme", true)];
    desk.load(&globex_key(), &wider);
    assert_eq!(desk.publish("acme/dev1/up").await, ALLOWED);
    desk.load(&acme_key(), &acme(false));
    assert_eq!((desk.publish("acme/dev1/up").await, desk.publish(SHARED).await), (WITHDRAWN.into(), WITHDRAWN.into()));
    desk.server.stop().await;
}

#[tokio::test]
async fn rules_that_the_broker_evaluates_itself_say_it_too() {
    let mut desk = Desk::start().await;
    let inline = |mut bundle: Bundle| {
        bundle.tenant.acl_delivery = AclDelivery::Inline;
        // Without a Deny of its own, so that the list tells of no other.
        bundle.policies[0].rules.truncate(1);
        bundle
    };
    desk.load(&acme_key(), &inline(acme(true)));
    let password = device_password("DC.1", DEV1);
    let login = json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": password});
    let denied = async |desk: &Desk| {
        let reply = desk.server.json("/emqx/v5/authn", &login).await;
        let reply: Value = serde_json::from_str(&reply.body).unwrap();
        let rules = reply["acl"].as_array().expect("a list").clone();
        rules.iter().any(|rule| {
            rule["permission"] == "deny"
                && rule["topics"].as_array().is_some_and(|topics| topics.contains(&json!("acme/+/shared")))
        })
    };
    assert!(!denied(&desk).await);
    desk.load(&acme_key(), &inline(acme(false)));
    assert!(denied(&desk).await, "the next login brings it");
    desk.server.stop().await;
}

#[tokio::test]
async fn acl_files_of_a_tenant_change_when_the_other_one_withdraws() {
    let mut desk = Desk::start().await;
    let volume = tempfile::tempdir().unwrap();
    let keeping = tokio::spawn(keep_acl_files(Arc::clone(&desk.server.store), volume.path().to_owned()));
    let said = |file: File| std::fs::read_to_string(volume.path().join(file.name())).unwrap_or_default();
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        for _ in 0..1000 {
            if holds() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("waited in vain for: {what}");
    };
    until("both files", &|| said(File::Emqx).contains("acme") && said(File::MosquittoAcl).contains("acme")).await;
    let denies = || [File::Emqx, File::MosquittoAcl].map(|file| said(file).contains("ConsentWithdrawn"));
    assert_eq!(denies(), [false, false]);
    desk.load(&globex_key(), &globex(false));
    until("the withdrawal in both files", &|| denies() == [true, true]).await;
    assert!(said(File::MosquittoAcl).contains("topic deny acme/+/shared\n"), "{}", said(File::MosquittoAcl));
    desk.load(&globex_key(), &globex(true));
    until("the consent in both files", &|| denies() == [false, false]).await;
    keeping.abort();
    desk.server.stop().await;
}
