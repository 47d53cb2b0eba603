//! `acl_file::mosquitto` against the reference, through a model of Mosquitto: what the file lets through is allowed, and what
//! it does not let through although it is allowed is told.

use std::sync::LazyLock;

use mqtt_access_core::acl_file::{Narrowed, mosquitto};
use mqtt_access_core::client::{Client, Map};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect};
use mqtt_access_core::rules::ClientRule;
use mqtt_access_core::template::ClientTopic;
use mqtt_access_core::topic::TopicName;
use mqtt_access_core::verdict::{Cause, Request};
use mqtt_access_tests::models::mosquitto::{Access, AclFile};
use mqtt_access_tests::reference::Names;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{Asked, Scenario, scenario};
use crate::cases;
use crate::sessions::{LoggedIn, NOW, Proof, client_id, known, log_in};

/// Every short name: the literals of the policies, and one that is none.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let literals = ["a", "b", "", "$x", "xa", "c"];
    let mut names: Vec<String> = literals.map(str::to_owned).into();
    for _ in 0..2 {
        names = names
            .iter()
            .flat_map(|name| literals.map(|level| format!("{name}/{level}")))
            .chain(literals.map(str::to_owned))
            .collect();
    }
    names.retain(|name| TopicName::parse(name).is_ok());
    names
});

/// A device, the file that lets it in, and what was told about it.
struct World<'s> {
    scenario: &'s Scenario,
    session: LoggedIn,
    proof: Proof,
    user: String,
    file: AclFile,
    narrowed: Vec<Narrowed>,
}

impl<'s> World<'s> {
    fn of(scenario: &'s Scenario, client_id: &str, proof: Proof) -> Self {
        let session = log_in(scenario, client_id, &proof);
        let section = mosquitto::section(index(&session), NOW);
        let file = AclFile::parse(&mosquitto::file([&section])).unwrap();
        let user = index(&session).devices().find_map(|it| it.username().map(str::to_owned)).unwrap();
        assert!(file.users().all(|known| known == user) && !file.knows_anonymous());
        Self { scenario, session, proof, user, file, narrowed: section.narrowed }
    }

    fn lets_through(&self, action: Action, name: &str) -> bool {
        let access = if action == Action::Publish { Access::Write } else { Access::Read };
        self.file.allows(&self.user, access, name)
    }

    fn client<'a>(&'a self, none: &'a Map) -> Client<'a> {
        known(self.scenario, &self.session, &self.proof, none)
    }

    /// Whether a finding names a rule without which the request would be let through, or with which it would not be.
    fn is_explained(&self, rules: &[ClientRule<'_>], request: &Request<'_>, name: &str) -> bool {
        let told = |rule: &ClientRule<'_>| {
            let Cause::Rule(cause) = rule.cause else { return false };
            self.narrowed.iter().any(|told| told.policy == cause.policy && told.rule == cause.index)
        };
        rules.iter().filter(|rule| told(rule)).any(|rule| match rule.effect {
            Effect::Allow => rule.topic.grants(request) && rule.conditions.hold(request, Effect::Allow),
            Effect::Deny => match &rule.topic {
                ClientTopic::Filter(filter) | ClientTopic::Exact(filter) => Names::of(filter).contains(name),
                ClientTopic::WithDollars(filter) => Names::with_dollars(filter).contains(name),
                ClientTopic::Everything => true,
            },
        })
    }
}

fn index(session: &LoggedIn) -> &TenantIndex {
    session.index.tenants().next().unwrap()
}

/// A request for a name, with every QoS, and every retain flag of a publish.
fn requests(action: Action, name: &str) -> Vec<Asked> {
    let retains: &[bool] = if action == Action::Publish { &[false, true] } else { &[false] };
    let flags = (0..=2).flat_map(|qos| retains.iter().map(move |retain| (Some(qos), Some(*retain))));
    flags.map(|flags| Asked::of(action, name, flags)).collect()
}

/// Who can have a fixed password.
fn proof() -> impl Strategy<Value = Proof> {
    select(vec![Proof::Device, Proof::Password { prefix: false }, Proof::Password { prefix: true }])
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn what_mosquitto_lets_through_is_allowed_with_every_flag(
        scenario in scenario(),
        client_id in client_id(),
        proof in proof(),
    ) {
        let (world, none) = (World::of(&scenario, &client_id, proof), Map::new());
        let client = world.client(&none);
        for action in [Action::Publish, Action::Subscribe] {
            for name in NAMES.iter().filter(|name| world.lets_through(action, name)) {
                for asked in requests(action, name) {
                    let verdict = scenario.world().decide(&client, &asked.request());
                    prop_assert!(verdict.allow, "{:?}: {}", asked, verdict.cause);
                }
            }
        }
    }

    #[test]
    fn what_mosquitto_refuses_although_it_is_allowed_is_told(
        scenario in scenario(),
        client_id in client_id(),
        proof in proof(),
    ) {
        let world = World::of(&scenario, &client_id, proof);
        let index = index(&world.session);
        let persona = index.devices().find(|persona| persona.username().is_some()).unwrap();
        let principal = persona.principal();
        let rules = index.rules().of_client(&principal);
        for action in [Action::Publish, Action::Subscribe] {
            for name in NAMES.iter().filter(|name| !world.lets_through(action, name)) {
                for asked in requests(action, name) {
                    let verdict = index.rules().decide(&principal, &asked.request());
                    prop_assert!(
                        !verdict.is_allow() || world.is_explained(&rules, &asked.request(), name),
                        "{:?}: {} {:?}", asked, verdict.cause(), world.narrowed
                    );
                }
            }
        }
    }
}

/// The tests above would show nothing of files that let nothing through, or of rules that are all left out.
#[test]
fn the_random_files_let_some_through_refuse_some_and_tell_some() {
    let mut runner = TestRunner::deterministic();
    let (mut through, mut refused, mut narrowed, mut exact) = (0, 0, 0, 0);
    for _ in 0..200 {
        let (scenario, client_id, proof) = (scenario(), client_id(), proof()).new_tree(&mut runner).unwrap().current();
        let world = World::of(&scenario, &client_id, proof);
        let passing = NAMES.iter().filter(|name| world.lets_through(Action::Publish, name)).count();
        through += passing;
        refused += NAMES.len() - passing;
        narrowed += usize::from(!world.narrowed.is_empty());
        exact += usize::from(world.narrowed.is_empty() && passing > 0);
    }
    println!("{through} names let through, {refused} refused; {narrowed} files narrower, {exact} exact");
    let counts = [through / 100, refused / 100, narrowed, exact];
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}
