//! A seeded search for the worst questions within a tenant's budgets.
//!
//! Each round makes Deny topics in a way of its own and asks several questions that are made from them, so that they match in
//! part; then it goes on from the slowest way that was found so far, with something about it changed.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use mqtt_access_core::client::Map;
use mqtt_access_core::policy::{Effect, Policy, Qos, Subject};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::template::{Layout, Shape, Topic};
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};

use crate::random::Random;
use crate::{another, client, compile, everyone, per_call, policy};

/// The limits that the topics keep: the defaults of `spec.limits`, unless the budget below says otherwise.
const MAX_LEVELS: usize = 16;
const MAX_DENY_VARIABLES: usize = 8;
const MAX_ALLOW_SHAPES: usize = 128;
const MAX_POLICIES: usize = 1_000;

/// How many topics of rules there may be, and how many levels they may have together.
#[derive(Debug, Clone, Copy)]
struct Budget {
    effect: Effect,
    topics: usize,
    levels: usize,
}

/// How much of the limits the topics of one way use.
#[derive(Debug, Default)]
struct Used {
    levels: usize,
    layouts: BTreeSet<Layout>,
    shapes: BTreeSet<Shape>,
}

impl Used {
    /// Counts a topic, if there is room for it.
    fn takes(&mut self, topic: &str, budget: Budget) -> bool {
        let parsed = Topic::parse(topic).unwrap();
        let layout = Layout::of(&parsed);
        let shape = Shape::of(&parsed);
        let variables: usize =
            self.layouts.iter().chain([&layout]).collect::<BTreeSet<_>>().iter().map(|it| it.len()).sum();
        let shapes = self.shapes.len() + usize::from(!self.shapes.contains(&shape));
        let fits = match budget.effect {
            Effect::Deny => variables <= MAX_DENY_VARIABLES,
            Effect::Allow => shapes <= MAX_ALLOW_SHAPES,
        };
        if fits {
            self.levels += topic.split('/').count();
            self.layouts.insert(layout);
            self.shapes.insert(shape);
        }
        fits
    }
}

const BUDGETS: [(Budget, usize); 3] = [
    (Budget { effect: Effect::Deny, topics: 10_000, levels: 60_000 }, 400),
    (Budget { effect: Effect::Deny, topics: 200_000, levels: 600_000 }, 60),
    (Budget { effect: Effect::Allow, topics: 20_000, levels: 20_000 * MAX_LEVELS }, 200),
];

/// How the topics are made; shares are in percent.
#[derive(Debug, Clone)]
struct Way {
    levels: usize,
    /// How many topics are much less deep.
    shallow: usize,
    texts: usize,
    plus: usize,
    hash: usize,
    exact: usize,
    /// How many topics have variables.
    variables: usize,
    /// How many levels a layout has variables at.
    variable_places: usize,
    /// Whether texts around variables are such that many of them could spell what is asked.
    repeated: bool,
    usable: usize,
    policies: usize,
    selected: usize,
    with_qos: usize,
    dotted: bool,
    /// Whether no topic has what is asked at every level, although each level matches many.
    never: bool,
}

/// One level with a variable: its place, the number of its attribute, and how many bytes of text stand before it.
type VariableLevel = (usize, usize, usize);

impl Way {
    fn random(random: &mut Random) -> Self {
        Self {
            levels: 1 + random.below(MAX_LEVELS),
            shallow: random.pick(&[0, 0, 50, 90]),
            texts: random.pick(&[1, 2, 2, 2, 3, 4, 16, 300, 2_000]),
            plus: random.pick(&[0, 0, 10, 50]),
            hash: random.pick(&[0, 10, 50]),
            exact: random.pick(&[0, 0, 10]),
            variables: random.pick(&[0, 0, 10, 50, 90]),
            variable_places: random.pick(&[1, 1, 2, 4, 8]),
            repeated: random.percent(30),
            usable: random.pick(&[0, 50, 100]),
            policies: random.pick(&[1, 10, 100, MAX_POLICIES]),
            selected: random.pick(&[0, 50, 100]),
            with_qos: random.pick(&[0, 50]),
            dotted: random.percent(20),
            never: random.percent(80),
        }
    }

    fn changed(&self, random: &mut Random) -> Self {
        let other = Self::random(random);
        let mut changed = self.clone();
        match random.below(14) {
            0 => changed.levels = other.levels,
            1 => changed.texts = other.texts,
            2 => changed.plus = other.plus,
            3 => changed.hash = other.hash,
            4 => changed.exact = other.exact,
            5 => changed.variables = other.variables,
            6 => changed.variable_places = other.variable_places,
            7 => changed.usable = other.usable,
            8 => (changed.policies, changed.selected) = (other.policies, other.selected),
            9 => changed.with_qos = other.with_qos,
            10 => changed.dotted = other.dotted,
            11 => changed.shallow = other.shallow,
            12 => changed.repeated = other.repeated,
            _ => changed.never = other.never,
        }
        changed
    }

    /// As many layouts as the budget has, each with levels of its own.
    fn layouts(&self, random: &mut Random) -> Vec<Vec<VariableLevel>> {
        let places = self.variable_places.min(self.levels);
        let layout = |random: &mut Random| {
            let mut layout: Vec<VariableLevel> = (0..places)
                .map(|_| {
                    (
                        random.below(self.levels),
                        random.below(MAX_ATTRIBUTES),
                        if self.repeated { random.below(5) } else { 5 },
                    )
                })
                .collect();
            layout.sort_unstable();
            layout.dedup_by_key(|level| level.0);
            layout
        };
        (0..MAX_DENY_VARIABLES / places).map(|_| layout(random)).collect()
    }

    fn topic(&self, layouts: &[Vec<VariableLevel>], random: &mut Random) -> String {
        let none = Vec::new();
        let layout = if random.percent(self.variables) { layouts.get(random.below(layouts.len())) } else { None };
        let layout = layout.unwrap_or(&none);
        let deepest = layout.last().map_or(1, |level| level.0 + 1);
        let depth = if random.percent(self.shallow) { self.levels.min(3).max(deepest) } else { self.levels };
        let mut sum = 0;
        let mut levels = Vec::new();
        for place in 0..depth {
            let last = place + 1 == depth;
            if let Some((_, attribute, before)) = layout.iter().find(|level| level.0 == place) {
                let text =
                    if self.repeated { "t".repeat(*before) } else { format!("x{:04}", random.below(self.texts)) };
                let after = "t".repeat(5 - before);
                levels.push(format!("{text}${{client_attrs.a{attribute}}}{after}"));
            } else if !last && random.percent(self.plus) {
                levels.push("+".to_owned());
            } else if last && self.never && self.plus == 0 {
                // Every level matches its share, all of them together match nothing.
                levels.push(format!("t{}", (self.texts * self.levels - sum + 1) % self.texts.max(2)));
            } else {
                let text = random.below(self.texts);
                sum += text;
                levels.push(format!("t{text}"));
            }
        }
        levels.extend(random.percent(self.hash).then(|| "#".to_owned()));
        let topic = levels.join("/");
        let exact = random.percent(self.exact) && layout.is_empty();
        if exact { format!("eq {topic}") } else { topic }
    }

    fn topics(&self, random: &mut Random, budget: Budget) -> Vec<String> {
        let layouts = self.layouts(random);
        let mut used = Used::default();
        let topics = (0..budget.topics).map(|_| self.topic(&layouts, random));
        topics.filter(|topic| used.levels < budget.levels && used.takes(topic, budget)).collect()
    }

    fn policies(&self, random: &mut Random, budget: Budget) -> Vec<Policy> {
        let topics = self.topics(random, budget);
        let of_each = topics.len().div_ceil(self.policies);
        let mut policies: Vec<Policy> = topics
            .chunks(of_each)
            .enumerate()
            .map(|(number, topics)| {
                let subject = if random.percent(self.selected) {
                    // Audiences that differ from each other.
                    Subject { client_ids: Some(vec!["d*".to_owned(), format!("n{number}")]), ..Subject::default() }
                } else {
                    Subject { client_ids: Some(vec![format!("n{number}")]), ..another() }
                };
                let mut policy =
                    policy(&format!("p{number:05}"), subject, budget.effect, topics.iter().map(String::clone));
                for rule in &mut policy.rules {
                    rule.qos = random.percent(self.with_qos).then(|| [Qos::try_from(1).unwrap()].into());
                }
                policy
            })
            .collect();
        if budget.effect == Effect::Deny {
            policies.push(policy("z", everyone(), Effect::Allow, std::iter::once("#".to_owned())));
        }
        policies
    }

    fn asked(&self, random: &mut Random) -> String {
        let levels = self.levels + random.below(2);
        let wildcards = random.pick(&[0, 0, 20, 50]);
        let mut asked: Vec<String> = (0..levels.max(1))
            .map(|_| if random.percent(wildcards) { "+".to_owned() } else { format!("t{}", random.below(self.texts)) })
            .collect();
        if self.never {
            asked.iter_mut().take(self.levels).for_each(|level| "t0".clone_into(level));
            asked.iter_mut().filter(|_| random.percent(wildcards)).for_each(|level| "+".clone_into(level));
        }
        if self.repeated {
            // A level that an attribute and five bytes of text around it spell.
            asked.iter_mut().filter(|_| random.percent(50)).for_each(|level| *level = "t".repeat(5 + VALUE.len()));
        }
        if random.percent(30) {
            asked.truncate(random.below(levels) + 1);
            asked.push("#".to_owned());
        }
        asked.join("/")
    }

    fn attributes(&self, random: &mut Random) -> Map {
        let mut attributes = Map::new();
        for number in 0..MAX_ATTRIBUTES {
            let value = if random.percent(self.usable) { VALUE } else { random.pick(&["", "a/b", "+"]) };
            attributes.insert(format!("a{number}"), value.to_owned());
        }
        attributes
    }
}

const MAX_ATTRIBUTES: usize = 16;
const VALUE: &str = "tttttt";

#[derive(Debug, Default)]
struct Worst {
    time: Duration,
    way: Option<Way>,
    asked: String,
    publishes: bool,
    allowed: bool,
}

pub(crate) fn print() {
    println!();
    for (budget, rounds) in BUDGETS {
        let mut random = Random(budget.topics as u64);
        let (mut publish, mut subscribe) = (Worst::default(), Worst::default());
        for round in 0..rounds {
            let best = if round % 2 == 0 { &subscribe } else { &publish };
            let way = match &best.way {
                Some(way) if round > rounds / 3 => way.changed(&mut random),
                _ => Way::random(&mut random),
            };
            let rules = compile(&way.policies(&mut random, budget));
            for _ in 0..24 {
                ask(&rules, &way, &mut random, &mut publish, &mut subscribe);
            }
        }
        for worst in [subscribe, publish] {
            let what = if worst.publishes { "publish" } else { "subscription" };
            let verdict = if worst.allowed { "allowed" } else { "denied" };
            let Budget { effect, topics, levels } = budget;
            println!(
                "worst {what} within {topics} {effect:?} topics of {levels} levels, of {rounds} ways: {:?}, {verdict}",
                worst.time
            );
            println!("  `{}` with {:?}", worst.asked, worst.way);
        }
    }
}

fn ask(rules: &Rules, way: &Way, random: &mut Random, publish: &mut Worst, subscribe: &mut Worst) {
    let attributes = way.attributes(random);
    let principal = rules.principal(client(&attributes));
    let asked = way.asked(random);
    let notation = if way.dotted { Notation::Dotted } else { Notation::Mqtt };
    let publishes = TopicName::parse(&asked).is_ok() && random.percent(50);
    let target = match TopicName::parse(&asked) {
        Ok(name) if publishes => Target::Publish(name),
        _ => Target::Subscribe(Filter::parse(&asked).unwrap()),
    };
    let request = Request { target, qos: Qos::try_from(1).ok(), retain: None, notation };
    let worst = if publishes { publish } else { subscribe };
    let measured = |batches| {
        per_call(batches, || {
            black_box(rules.decide(black_box(&principal), black_box(&request)));
        })
    };
    // A machine has other things to do: what looks slow is measured again.
    let time = measured(5);
    if time > worst.time {
        let time = time.min(measured(41));
        if time > worst.time {
            let allowed = rules.decide(&principal, &request).is_allow();
            *worst = Worst { time, way: Some(way.clone()), asked, publishes, allowed };
        }
    }
}
