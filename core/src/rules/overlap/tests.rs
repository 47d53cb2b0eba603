//! The index against one topic after the other, on topics and questions that often meet; and what the worst questions cost.

use super::*;
use crate::client::{Map, Mode};
use crate::rules::audience_set::{AudienceSet, ItemsByAudience};
use crate::rules::levels::with_levels;
use crate::topic::{Filter, TopicName};

/// The same numbers for the same seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<'s>(&mut self, from: &[&'s str]) -> &'s str {
        from[self.below(from.len())]
    }

    /// Levels out of some, and sometimes a `#`.
    fn topic(&mut self, levels: &[&str], most: usize) -> String {
        let count = self.below(most + 1);
        let mut topic: Vec<&str> = (0..count).map(|_| self.pick(levels)).collect();
        if topic.is_empty() || topic == [""] || self.below(4) == 0 {
            topic.push("#");
        }
        topic.join("/")
    }
}

const TEMPLATE: [&str; 14] = [
    "a",
    "a",
    "b",
    "",
    "$x",
    "+",
    "+",
    "a.b",
    "${clientid}",
    "x${clientid}",
    "${client_attrs.site}",
    "x${client_attrs.site}",
    "${$}${client_attrs.site}",
    "${client_attrs.site}${clientid}",
];
const ASKED: [&str; 9] = ["a", "a", "b", "", "$x", "+", "+", "xa", "$a"];
const VALUES: [&str; 9] = ["a", "a", "b", "", "$x", "a/b", "+", "a.b", "xa"];

struct World {
    topics: Vec<Option<Topic>>,
    runs: Runs,
    mqtt: Overlap,
    dotted: Overlap,
    audiences: Vec<u32>,
    by_audience: ItemsByAudience,
}

impl World {
    fn new(topics: Vec<Option<Topic>>, audiences: Vec<u32>) -> Self {
        let known: Vec<Option<&Topic>> = topics.iter().map(Option::as_ref).collect();
        let Order { topics: order, starts } = Order::of(&known);
        let index = |dotted| Overlap::new(order.iter().map(|topic| known[*topic]), dotted);
        let mqtt = index(false);
        let dotted = index(true);
        let by_audience = ItemsByAudience::new(order.iter().map(|topic| audiences[*topic]));
        let runs = Runs::new(order.iter().map(|topic| narrow(*topic)).collect(), starts);
        Self { topics, runs, mqtt, dotted, audiences, by_audience }
    }

    fn random(random: &mut Random, count: usize) -> Self {
        let topic = |random: &mut Random| match random.below(40) {
            0 => None,
            1..6 => Topic::parse(&format!("eq {}", random.topic(&ASKED, 4))).ok(),
            _ => Topic::parse(&random.topic(&TEMPLATE, 5)).ok(),
        };
        let topics = (0..count).map(|_| topic(random)).collect();
        let audiences = (0..count).map(|_| u32::try_from(random.below(4)).unwrap()).collect();
        Self::new(topics, audiences)
    }

    fn found(&self, question: &Question<'_>, set: &AudienceSet) -> (Option<u32>, Work) {
        let index = if question.dotted { &self.dotted } else { &self.mqtt };
        let mut work = Work::default();
        let mut denied = set.denied();
        let item = index.first(question, &self.runs, &mut denied, &mut work).unwrap();
        (item.map(|item| self.runs.rule(item)), work)
    }

    fn expected(&self, question: &Question<'_>, set: &AudienceSet) -> Option<u32> {
        let mut items = (0_u32..).zip(self.topics.iter().zip(&self.audiences));
        items.find(|(_, (topic, audience))| set.contains(audience) && meets(topic.as_ref(), question)).map(|it| it.0)
    }
}

impl Concerned for crate::rules::audience_set::DeniedCursor<'_> {
    fn next(&mut self, at: usize) -> Option<usize> {
        self.next(at)
    }

    fn read(&mut self, at: usize, block: &mut Block) {
        self.read(at, block);
    }
}

fn with_client<T>(client_id: &str, proven: bool, site: Option<&str>, then: impl FnOnce(&Client<'_>) -> T) -> T {
    let attributes: Map = site.map(|site| ("site".to_owned(), site.to_owned())).into_iter().collect();
    then(&Client {
        client_id,
        client_id_proven: proven,
        username: None,
        mode: Mode::DeviceCredential,
        tenant_id: "acme.t",
        instance_id: "a",
        tenant_attributes: &attributes,
        own_attributes: None,
        labels: None,
        access_key: None,
        superuser: false,
        grants: None,
        withheld: None,
    })
}

#[test]
fn the_index_finds_the_first_topic_that_meets_what_is_asked() {
    let mut random = Random(11);
    let (mut met, mut missed) = (0, 0);
    for round in 0..600 {
        // Enough for several spans, and for runs that end within a block.
        let count = if round % 20 == 0 { 3_000 + random.below(6_000) } else { 1 + random.below(12) };
        let world = World::random(&mut random, count);
        for _ in 0..30 {
            let (id, site) = (random.pick(&VALUES), random.pick(&VALUES));
            let (proven, has_site, dotted) = (random.below(4) > 0, random.below(4) > 0, random.below(3) == 0);
            let ids = (0..4).filter(|_| random.below(3) > 0).collect();
            let set = world.by_audience.set(ids, true);
            let asked = random.topic(&ASKED, 5);
            let filter = Filter::parse(&asked).unwrap();
            let target = match TopicName::parse(&asked) {
                Ok(name) if random.below(2) == 0 => Target::Publish(name),
                _ => Target::Subscribe(filter),
            };
            with_client(id, proven, has_site.then_some(site), |client| {
                with_levels(filter, |levels| {
                    let question = Question { target, levels, client, dotted, whole: false };
                    let found = world.found(&question, &set).0;
                    let topic = |item: Option<u32>| item.map(|item| &world.topics[wide(item)]);
                    let expected = world.expected(&question, &set);
                    assert_eq!(found, expected, "{question:?}: {:?}, {:?}", topic(found), topic(expected));
                    *(if found.is_some() { &mut met } else { &mut missed }) += 1;
                });
            });
        }
    }
    assert!(met > 2_000 && missed > 2_000, "{met} met, {missed} missed");
}

#[test]
fn more_variables_than_there_is_room_for_are_not_searched() {
    let topic = |number: usize| Topic::parse(&format!("${{client_attrs.none{number}}}/x")).unwrap();
    for (count, expected) in [(512, Ok(Some(0))), (513, Err(TooWide))] {
        let world = World::new((0..count).map(|number| Some(topic(number))).collect(), vec![0; count]);
        let set = world.by_audience.set(vec![0], true);
        with_client("a", true, None, |client| {
            let target = Target::Subscribe(Filter::parse("a/x").unwrap());
            let question = Question { target, levels: &["a", "x"], client, dotted: false, whole: false };
            let found = world.mqtt.first(&question, &world.runs, &mut set.denied(), &mut Work::default());
            let found = found.map(|item| item.map(|item| world.runs.rule(item)));
            assert_eq!(found, expected, "{count}");
        });
    }
}

/// A tenant's worst topics, within the budgets that the figures of the benchmarks assume.
struct Worst {
    levels: usize,
    texts: usize,
    plus: usize,
    variables: usize,
}

impl Worst {
    fn random(random: &mut Random) -> Self {
        Self {
            levels: 1 + random.below(16),
            texts: [1, 2, 2, 3, 16, 300][random.below(6)],
            plus: [0, 0, 3][random.below(3)],
            variables: random.below(9),
        }
    }

    /// Every level of what is asked is one of these texts; the last one is not, so that no topic meets it.
    fn topic(&self, random: &mut Random) -> Option<Topic> {
        let mut levels: Vec<String> = (0..self.levels)
            .map(|place| match random.below(10) {
                roll if roll < self.plus => "+".to_owned(),
                9 if place < self.variables => format!("t{}${{client_attrs.none{place}}}", random.below(self.texts)),
                _ => format!("t{}", random.below(self.texts)),
            })
            .collect();
        levels.push(format!("never{}", random.below(self.texts)));
        Topic::parse(&levels.join("/")).ok()
    }

    fn asked(&self, random: &mut Random) -> String {
        let mut levels: Vec<&str> = (0..self.levels).map(|_| if random.below(4) == 0 { "+" } else { "t0" }).collect();
        levels.push(if random.below(2) == 0 { "asked" } else { "never0" });
        levels.push(if random.below(2) == 0 { "#" } else { "more" });
        levels.join("/")
    }
}

#[test]
fn the_worst_question_within_the_budgets_looks_at_few_bits_of_each_topic() {
    const ITEMS: usize = 20_000;
    let mut random = Random(7);
    let mut worst = 0;
    for _ in 0..16 {
        let way = Worst::random(&mut random);
        let audiences = (0..ITEMS).map(|item| u32::try_from(item / 20).unwrap()).collect();
        let world = World::new((0..ITEMS).map(|_| way.topic(&mut random)).collect(), audiences);
        // Every other policy is about the client.
        let set = world.by_audience.set((0..1_000).filter(|audience| audience % 2 == 0).collect(), true);
        for round in 0..16 {
            let asked = way.asked(&mut random);
            let filter = Filter::parse(&asked).unwrap();
            with_client("a", true, None, |client| {
                with_levels(filter, |levels| {
                    let target = Target::Subscribe(filter);
                    let question = Question { target, levels, client, dotted: false, whole: false };
                    let (found, work) = world.found(&question, &set);
                    // The slow way is slow.
                    assert!(round > 0 || found == world.expected(&question, &set), "{asked}");
                    worst = worst.max(work.words);
                });
            });
        }
    }
    let bits = worst * 64 / u64::try_from(ITEMS).unwrap();
    println!("at most {bits} bits of each of {ITEMS} topics, {worst} words");
    // One for each level, its wildcards, its variables, and the end.
    assert!((2..=16 * 2 + 8 * 2 + 4).contains(&bits), "{bits}");
}

const BLOCK_WORDS: u64 = 64;

#[test]
fn a_denial_by_an_early_rule_and_a_rare_level_cost_a_few_blocks() {
    let topic = |item: usize| Topic::parse(&format!("a/b{item}/c")).ok();
    let world = World::new((0..100_000).map(topic).collect(), vec![0; 100_000]);
    let set = world.by_audience.set(vec![0], true);
    for (asked, expected) in [("#", Some(0)), ("+/+/c", Some(0)), ("a/b99999/+", Some(99_999)), ("a/none/c", None)] {
        let filter = Filter::parse(asked).unwrap();
        with_client("a", true, None, |client| {
            with_levels(filter, |levels| {
                let target = Target::Subscribe(filter);
                let question = Question { target, levels, client, dotted: false, whole: false };
                let (found, work) = world.found(&question, &set);
                assert_eq!(found, expected, "{asked}");
                assert!(work.words <= 6 * BLOCK_WORDS, "{asked} costs {} words", work.words);
            });
        });
    }
}

#[test]
fn thousands_of_variables_at_one_place_cost_no_more_than_one() {
    let topic = |item: usize| Topic::parse(&format!("a/x{item}-${{client_attrs.site}}/b")).ok();
    let world = World::new((0..20_000).map(topic).collect(), vec![0; 20_000]);
    let set = world.by_audience.set(vec![0], true);
    for (site, asked, expected) in [
        (Some("north"), "a/x19999-north/b", Some(19_999)),
        (Some("north"), "a/x19999-south/b", None),
        // A value that cannot be used: any level is meant, and the first rule is the cause.
        (None, "a/any/b", Some(0)),
        (None, "a/any/c", None),
        (Some("north/south"), "a/any/c", Some(0)),
    ] {
        let name = TopicName::parse(asked).unwrap();
        with_client("a", true, site, |client| {
            with_levels(name.into(), |levels| {
                let target = Target::Publish(name);
                let question = Question { target, levels, client, dotted: false, whole: false };
                let (found, work) = world.found(&question, &set);
                assert_eq!(found, expected, "{asked} with {site:?}");
                let words = u64::try_from(words_for(20_000)).unwrap();
                assert!(work.words <= 5 * words, "{asked} with {site:?} costs {} words", work.words);
            });
        });
    }
}
