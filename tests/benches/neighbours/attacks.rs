//! The ways in which one tenant, or a stranger, could slow a neighbour down: each with the bundle and the requests that it takes.

use std::collections::BTreeSet;

use mqtt_access_core::bundle::{Bundle, ClientIds, Device, LoginName, Spares};
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::{Effect, Operator, Policy, Requirement, Rule, Selector, Subject, Topics};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Act, Claims, token_key};
use mqtt_access_tests::two_tenants::{FOREIGN, globex};

use crate::load::form;
use crate::server::{Client, Server, log_in};
use crate::victim::{Deed, now};

/// The client that attacks within its own tenant.
pub(crate) const ATTACKER: Client<'static> =
    Client { client_id: "GID_globex@@@dev1", username: "DeviceCredential|DC.1|mqtt-globex", secret: FOREIGN };

/// One way to attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// Requests, or edits, a second.
    pub(crate) rate: f64,
    /// What it is aimed at.
    pub(crate) deeds: &'static [Deed],
    /// How much there is of what the functions below count: as much as the default limits allow, and as much as limits raised
    /// tenfold do, or as high as they go. Nothing, where a budget is empty.
    sizes: [usize; 2],
    /// What the attacker's bundle has more than an empty one.
    fill: fn(&mut Bundle, usize),
    /// What the attacker sends, again and again.
    requests: fn(&Server, usize) -> Vec<Vec<u8>>,
    pub(crate) means: Means,
}

/// By what it attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    Requests,
    /// So many connections as its size says are open all the time.
    Connections,
    /// Its bundle is published anew all the time, and there are ACL files.
    Edits,
}

/// How much of the attacker's budget is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Empty,
    Budget,
    /// The budget raised tenfold, as far as it can be raised.
    Tenfold,
}

impl Scale {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Budget => "1x",
            Self::Tenfold => "10x",
        }
    }
}

const ANY: &[Deed] = &[Deed::Login, Deed::Publish, Deed::Subscribe];

pub(crate) static ATTACKS: [Attack; 9] = [
    Attack {
        name: "wildcard subscriptions over Denies",
        rate: 400.0,
        deeds: ANY,
        sizes: [10_000, 100_000],
        fill: |bundle, count| bundle.policies.push(denies(count)),
        requests: |server, _| device(server, "subscribe", "globex/+/+/none/#"),
        means: Means::Requests,
    },
    Attack {
        name: "policies with matchExpressions alone",
        rate: 400.0,
        deeds: ANY,
        // Each tenant here has one policy anyway.
        sizes: [999, 9_999],
        fill: |bundle, count| bundle.policies.extend((0..count).map(selecting)),
        requests: |server, _| {
            let key = Client { client_id: "GID_globex@@@any", username: "Signature|AK.1|mqtt-globex", secret: FOREIGN };
            vec![key.asks(&server.ticket(&key), "publish", "globex/x")]
        },
        means: Means::Requests,
    },
    Attack {
        name: "variable levels of one node",
        rate: 400.0,
        deeds: ANY,
        sizes: [10_000, 100_000],
        fill: |bundle, count| bundle.policies.push(variables(count)),
        requests: |server, _| device(server, "publish", "globex/not-one-of-them/x"),
        means: Means::Requests,
    },
    Attack {
        name: "wrong passwords of slow hashes",
        rate: 5.0,
        deeds: &[Deed::SlowLogin],
        // The cost of bcrypt that the platform team permits: 14 at most.
        sizes: [12, 14],
        fill: |bundle, cost| bundle.devices.extend((0..50).map(|number| person(number, cost.max(4)))),
        requests: |_, _| (0..50).map(|number| wrong(&format!("GID_globex@@@p{number}"), number, 1)).collect(),
        means: Means::Requests,
    },
    Attack {
        name: "logins with client IDs of no tenant",
        rate: 50.0,
        deeds: &[Deed::SlowLogin],
        sizes: [500, 5_000],
        fill: |_, _| {},
        requests: |_, count| match count {
            0 => wrong_keys(),
            _ => (0..count).map(|number| wrong(&format!("stranger-{number}"), number, 1)).collect(),
        },
        means: Means::Requests,
    },
    Attack {
        name: "guesses on the victim's names",
        rate: 40.0,
        deeds: &[Deed::SlowLogin],
        // Addresses.
        sizes: [1, 10],
        fill: |_, _| {},
        requests: |_, addresses| match addresses {
            0 => wrong_keys(),
            _ => (0..40 * addresses)
                .map(|number| wrong(&format!("GID_acme@@@p{}", number % 40), number % 40, 1 + number / 40))
                .collect(),
        },
        means: Means::Requests,
    },
    Attack {
        name: "RabbitMQ logins with large tokens",
        rate: 50.0,
        deeds: &[Deed::RabbitPublish],
        sizes: [200, 2_000],
        fill: |_, _| {},
        // Of as many resources as tokens may have.
        requests: |_, clients| match clients {
            0 => (0..200).map(|number| large_token(number, 1)).collect(),
            _ => (0..clients).map(|number| large_token(number, 30)).collect(),
        },
        means: Means::Requests,
    },
    Attack {
        name: "idle connections",
        rate: 2.0,
        deeds: &[Deed::NewConnection],
        // More than a sidecar has room for. With more than 14,000 to one address the kernel itself takes a millisecond to find
        // a port for the next one.
        sizes: [4_200, 13_000],
        fill: |_, _| {},
        requests: |server, _| device(server, "publish", "globex/x"),
        means: Means::Connections,
    },
    Attack {
        name: "edits of a large section of the ACL files",
        rate: 2.0,
        deeds: &[Deed::Login, Deed::Publish, Deed::Subscribe, Deed::Revocation, Deed::RevocationInFiles],
        sizes: [10_000, 100_000],
        fill: |bundle, count| {
            bundle.policies.push(denies(count));
            bundle.policies.push(allows(2 * count));
        },
        requests: |_, _| Vec::new(),
        means: Means::Edits,
    },
];

impl Attack {
    pub(crate) fn size(&self, scale: Scale) -> usize {
        match scale {
            Scale::Empty => 0,
            Scale::Budget => self.sizes[0],
            Scale::Tenfold => self.sizes[1],
        }
    }

    /// The attacker's bundle.
    pub(crate) fn bundle(&self, scale: Scale) -> Bundle {
        let mut bundle = globex();
        (self.fill)(&mut bundle, self.size(scale));
        bundle
    }

    /// What the attacker sends, again and again.
    pub(crate) fn requests(&self, server: &Server, scale: Scale) -> Vec<Vec<u8>> {
        (self.requests)(server, self.size(scale))
    }
}

fn device(server: &Server, action: &str, topic: &str) -> Vec<Vec<u8>> {
    vec![ATTACKER.asks(&server.ticket(&ATTACKER), action, topic)]
}

fn everyone() -> Vec<Subject> {
    vec![Subject { everyone: true, ..Subject::default() }]
}

fn rule(effect: Effect, index: usize, topics: Vec<String>) -> Rule {
    use mqtt_access_core::policy::Action;
    let index = u32::try_from(index).unwrap();
    let actions = [Action::Publish, Action::Subscribe].into();
    Rule { index, effect, actions, topics: Topics::Listed(topics), qos: None, retain: None }
}

/// Topics that a filter with wildcards has to be compared with one by one, where nothing tells them apart sooner.
fn topics(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("globex/{}/{}/x{number}", number % 100, number % 317)).collect()
}

fn denies(count: usize) -> Policy {
    Policy { name: "denies".to_owned(), subjects: everyone(), rules: vec![rule(Effect::Deny, 0, topics(count))] }
}

/// Each of the first half has one of as many Denies inside.
fn allows(count: usize) -> Policy {
    let topics = (0..count).map(|number| format!("globex/+/{}/x{number}", number % 317)).collect();
    Policy { name: "allows".to_owned(), subjects: everyone(), rules: vec![rule(Effect::Allow, 0, topics)] }
}

fn selecting(number: usize) -> Policy {
    let requirement =
        Requirement { key: format!("k{number}"), operator: Operator::DoesNotExist, values: BTreeSet::new() };
    let selector = Selector { match_labels: [].into(), match_expressions: vec![requirement] };
    let subject = Subject { device_selector: Some(selector), ..Subject::default() };
    let rules = vec![rule(Effect::Allow, 0, vec![format!("globex/{number}")])];
    Policy { name: format!("selecting-{number}"), subjects: vec![subject], rules }
}

/// So many Denies, twice as many Allows, and as many different variable levels and shapes as may be with so many.
fn variables(count: usize) -> Policy {
    let (levels, shapes) = ((count / 1_250).max(1), (count * 128 / 10_000).max(1));
    let x = |length: usize| "x".repeat(length);
    let deny = |number: usize| format!("globex/v{number:06}{}-${{clientid}}/deny", x(number % levels));
    let allow = |number: usize| {
        let shape = number % shapes;
        format!("globex/v{number:06}{}-${{clientid}}/{}-${{clientid}}/allow", x(shape % 36), x(shape / 36))
    };
    let rules = vec![
        rule(Effect::Deny, 0, (0..count).map(deny).collect()),
        rule(Effect::Allow, 1, (0..2 * count).map(allow).collect()),
    ];
    Policy { name: "variables".to_owned(), subjects: everyone(), rules }
}

/// A person with an imported hash that no password is known for.
fn person(number: usize, cost: usize) -> Device {
    let hash = format!("$2b${cost:02}$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76");
    let name = format!("p{number}");
    let password = Some(Verifier::Slow(hash.parse().unwrap()));
    let template = globex().devices.remove(0);
    Device {
        login: Some(LoginName { name: name.clone(), scram: None, password, spares: Spares::default() }),
        client_id: ClientIds::from(format!("GID_globex@@@{name}").as_str()),
        key_id: String::new(),
        secret: None,
        name,
        ..template
    }
}

/// A login with a wrong password, from one of some addresses.
fn wrong(client_id: &str, number: usize, address: usize) -> Vec<u8> {
    log_in(client_id, &format!("p{}", number % 50), &format!("wrong {number}"), &format!("192.0.2.{address}"))
}

/// Logins that are refused without a slow hash.
fn wrong_keys() -> Vec<Vec<u8>> {
    vec![log_in(ATTACKER.client_id, ATTACKER.username, "wrong", "192.0.2.1")]
}

/// A login of RabbitMQ with three tokens.
fn large_token(number: usize, resources: usize) -> Vec<u8> {
    let token = |act: Act| {
        let claims = Claims {
            iss: "AK.1".to_owned(),
            aud: "mqtt-globex".to_owned(),
            iat: now(),
            exp: now() + 86_400,
            nbf: None,
            jti: format!("{number}-{}", act.as_str()),
            act,
            res: (0..resources).map(|place| format!("globex/{number}/{place}/{}/#", "x".repeat(200))).collect(),
            sub: None,
        };
        format!("{}|{}", act.as_str(), claims.sign(&token_key(&Secret::from(FOREIGN))).unwrap())
    };
    let password = [Act::R, Act::W, Act::RW].map(token).join("|");
    let client_id = format!("GID_globex@@@t{number}");
    let pairs = [
        ("username", "Token|AK.1|mqtt-globex"),
        ("password", password.as_str()),
        ("vhost", "/"),
        ("client_id", client_id.as_str()),
    ];
    form("/rabbitmq/user", &pairs)
}

/// The same login for RabbitMQ, as a form.
pub(crate) fn rabbitmq_login(client_id: &str, username: &str, secret: &str) -> Vec<u8> {
    let password = password(MacAlgorithm::HmacSha256, &Secret::from(secret), client_id);
    let pairs = [("username", username), ("password", password.as_str()), ("vhost", "/"), ("client_id", client_id)];
    form("/rabbitmq/user", &pairs)
}
