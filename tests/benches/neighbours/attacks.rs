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
use crate::victim::now;

/// The client that attacks within its own tenant.
pub(crate) const ATTACKER: Client<'static> =
    Client { client_id: "GID_globex@@@dev1", username: "DeviceCredential|DC.1|mqtt-globex", secret: FOREIGN };

/// One way to attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    WildcardSubscriptions,
    MatchExpressions,
    VariableLevels,
    WrongPasswords,
    Strangers,
    Guesses,
    LargeTokens,
    IdleConnections,
    EditsOfLargeFiles,
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

impl Attack {
    pub(crate) const ALL: [Self; 9] = [
        Self::WildcardSubscriptions,
        Self::MatchExpressions,
        Self::VariableLevels,
        Self::WrongPasswords,
        Self::Strangers,
        Self::Guesses,
        Self::LargeTokens,
        Self::IdleConnections,
        Self::EditsOfLargeFiles,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WildcardSubscriptions => "wildcard subscriptions over Denies",
            Self::MatchExpressions => "policies with matchExpressions alone",
            Self::VariableLevels => "variable levels of one node",
            Self::WrongPasswords => "wrong passwords of slow hashes",
            Self::Strangers => "logins with client IDs of no tenant",
            Self::Guesses => "guesses on the victim's names",
            Self::LargeTokens => "RabbitMQ logins with large tokens",
            Self::IdleConnections => "4,200 idle connections",
            Self::EditsOfLargeFiles => "edits of a large section of the ACL files",
        }
    }

    /// Requests a second.
    pub(crate) fn rate(self) -> f64 {
        match self {
            Self::WildcardSubscriptions | Self::MatchExpressions | Self::VariableLevels => 400.0,
            Self::WrongPasswords => 5.0,
            Self::Strangers | Self::LargeTokens => 50.0,
            Self::Guesses => 40.0,
            Self::IdleConnections | Self::EditsOfLargeFiles => 2.0,
        }
    }

    /// The attacker's bundle.
    pub(crate) fn bundle(self, scale: Scale) -> Bundle {
        let mut bundle = globex();
        let count = self.count(scale);
        match self {
            Self::WildcardSubscriptions => bundle.policies.push(denies(count)),
            Self::MatchExpressions => bundle.policies.extend((0..count).map(selecting)),
            Self::VariableLevels => bundle.policies.push(variables(count)),
            Self::WrongPasswords => bundle.devices.extend((0..50).map(|number| person(number, cost(scale)))),
            Self::EditsOfLargeFiles => {
                bundle.policies.push(denies(count));
                bundle.policies.push(allows(count));
            }
            Self::Strangers | Self::Guesses | Self::LargeTokens | Self::IdleConnections => {}
        }
        bundle
    }

    fn count(self, scale: Scale) -> usize {
        let of_budget = match self {
            Self::WildcardSubscriptions => 10_000,
            Self::VariableLevels => 2_000,
            Self::MatchExpressions | Self::EditsOfLargeFiles => 1_000,
            _ => 0,
        };
        match scale {
            Scale::Empty => 0,
            Scale::Budget => of_budget,
            Scale::Tenfold => of_budget * 10,
        }
    }

    /// What the attacker sends, again and again.
    pub(crate) fn requests(self, server: &Server, scale: Scale) -> Vec<Vec<u8>> {
        let device = |action: &str, topic: &str| vec![ATTACKER.asks(&server.ticket(&ATTACKER), action, topic)];
        match self {
            Self::WildcardSubscriptions => device("subscribe", "globex/+/+/none/#"),
            Self::MatchExpressions => {
                let key =
                    Client { client_id: "GID_globex@@@any", username: "Signature|AK.1|mqtt-globex", secret: FOREIGN };
                vec![key.asks(&server.ticket(&key), "publish", "globex/x")]
            }
            Self::VariableLevels => device("publish", "globex/not-one-of-them/x"),
            Self::WrongPasswords => (0..50).map(|number| wrong(&format!("GID_globex@@@p{number}"), number)).collect(),
            Self::Strangers => (0..500).map(|number| wrong(&format!("stranger-{number}"), number)).collect(),
            Self::Guesses => (0..40).map(|number| wrong(&format!("GID_acme@@@p{number}"), number)).collect(),
            Self::LargeTokens => large_tokens(scale),
            Self::IdleConnections | Self::EditsOfLargeFiles => device("publish", "globex/x"),
        }
    }
}

/// The cost of bcrypt that the platform team permits.
fn cost(scale: Scale) -> u32 {
    match scale {
        Scale::Empty => 4,
        Scale::Budget => 12,
        Scale::Tenfold => 14,
    }
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

fn allows(count: usize) -> Policy {
    let topics = (0..count).map(|number| format!("globex/+/{}/#", number % 317)).collect();
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

fn variables(count: usize) -> Policy {
    let topics = |suffix: &str| (0..count).map(|number| format!("globex/v{number}-${{clientid}}/{suffix}")).collect();
    let rules = vec![rule(Effect::Deny, 0, topics("deny")), rule(Effect::Allow, 1, topics("allow"))];
    Policy { name: "variables".to_owned(), subjects: everyone(), rules }
}

/// A person with an imported hash that no password is known for.
fn person(number: usize, cost: u32) -> Device {
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

fn wrong(client_id: &str, number: usize) -> Vec<u8> {
    log_in(client_id, &format!("p{}", number % 50), &format!("wrong {number}"))
}

/// Logins of RabbitMQ with three tokens each, of as many resources as tokens may have.
fn large_tokens(scale: Scale) -> Vec<Vec<u8>> {
    let (clients, resources) = match scale {
        Scale::Empty => (200, 1),
        Scale::Budget => (200, 30),
        Scale::Tenfold => (2_000, 30),
    };
    (0..clients).map(|number| large_token(number, resources)).collect()
}

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
