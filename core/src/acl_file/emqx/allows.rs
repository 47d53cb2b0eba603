//! The Allows of a tenant: to no clients, topics and actions but those that are meant.
//!
//! Those of which EMQX takes one subscription too many come last, each after a rule that refuses just that subscription:
//! whatever else allows it has then been tried. Of two that end in `+/#`, the longer one's extra subscription may be covered
//! by the shorter one; nothing that ends in `+` covers what ends in `#`. So those of one length need not stand apart.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::rc::Rc;

use super::super::meter::Meter;
use super::super::overlaps::{Asked, Filters};
use super::clients::Selected;
use super::denies::Deny;
use super::pattern;
use super::rule::{self, Lines, Share, Topics};
use super::term::Term;
use super::topics::{Escape, Granted, Refused, Wider, exactly};
use super::who::{Condition, Field};
use super::{Draft, Written, by_policy};
use crate::policy::{Action, Effect, Policy, Topics as WrittenTopics};
use crate::rules::Conditions;
use crate::template::{TemplateLevel, Topic};
use crate::topic::Filter;

/// The Denies that stand in the file before, to be found by what they have in common with a topic.
struct Before<'d, 'i> {
    /// By their numbers in `filters`.
    topics: Vec<(&'d Deny<'i>, &'d Refused)>,
    filters: Filters<'d>,
    /// Those that are no filters, which is a fault of ours: they count as met by every topic.
    everywhere: Vec<usize>,
    /// Whether no client is in both of two selections.
    apart: HashMap<(usize, usize), bool>,
}

/// What some clients are allowed; no policy stands behind what superusers are.
struct Allowed<'i> {
    policy: Option<&'i Policy>,
    clients: Rc<Selected>,
    lines: Lines,
    /// Topics of which one subscription has to be refused first, by their turn.
    guarded: BTreeMap<Turn, Guarded>,
    /// Bytes of conditions in `lines`: they are counted as text when they are written.
    held: usize,
}

/// The place of a guarded topic among the others: after those that could cover what is refused before it.
type Turn = (bool, usize);

/// Guarded topics whose turn is the same.
#[derive(Default)]
struct Guarded {
    rules: BTreeSet<u32>,
    refused: BTreeSet<String>,
    lines: Lines,
}

/// A topic of an Allow as it was written, with its conditions.
struct Wanted<'w, 'i> {
    /// `None`: of a superuser's topic space.
    written: Option<Written<'i>>,
    conditions: Conditions,
    text: &'w str,
    topic: Granted,
}

/// Who may subscribe by a topic.
enum Subscribers {
    /// All that may publish.
    All,
    /// All but those with one of these values.
    But(BTreeMap<Field, BTreeSet<String>>),
    Nobody,
}

/// Writes them; `denies` stand in the file before.
pub(super) fn write<'i>(draft: &mut Draft<'i, '_>, allows: &[Written<'i>], denies: &[Deny<'i>]) {
    let mut before = Before::of(denies);
    let mut all = Vec::new();
    for written in by_policy(allows) {
        let Some(policy) = written.first().map(|it| it.policy).filter(|_| draft.meter.goes_on()) else { break };
        let clients = draft.selected(policy, Effect::Allow);
        all.push(of_policy(draft, Allowed::new(Some(policy), clients), written, &mut before));
    }
    all.push(superusers(draft, &mut before));
    let turns: BTreeSet<Turn> = all.iter().flat_map(|allowed| allowed.guarded.keys().copied()).collect();
    for turn in turns {
        for allowed in &mut all {
            if let Some(guarded) = allowed.guarded.remove(&turn) {
                write_guarded(draft, allowed, guarded);
            }
        }
    }
}

fn write_guarded(draft: &mut Draft<'_, '_>, allowed: &Allowed<'_>, guarded: Guarded) {
    let Guarded { rules, refused, lines } = guarded;
    name(draft, allowed.policy, &rules);
    let refused = Topics::Listed(refused.iter().map(|filter| exactly(filter)).collect());
    draft.rules.rule(Effect::Deny, &allowed.clients.who, [], Term::Atom("subscribe"), refused);
    for (action, and, line) in lines.finish() {
        draft.rules.rule(Effect::Allow, &allowed.clients.who, and, action, Topics::Listed(line.topics));
    }
}

fn of_policy<'i>(
    draft: &mut Draft<'i, '_>,
    mut allowed: Allowed<'i>,
    rules: &[Written<'i>],
    before: &mut Before<'_, 'i>,
) -> Allowed<'i> {
    for written in rules {
        let conditions = written.conditions();
        let WrittenTopics::Listed(texts) = &written.rule.topics else { continue };
        if rule::action(conditions, Share::All).is_none() {
            continue;
        }
        if allowed.clients.by_scram {
            let message = "not allowed to clients of a selected credential with a `clientIdPrefix` that log in by SCRAM: EMQX \
                           cannot tell whose they are; let them log in with a password instead";
            draft.tell(written, message.to_owned());
        }
        if allowed.clients.who.is_nobody() {
            continue;
        }
        for text in texts.iter().take_while(|_| draft.meter.step(1)) {
            let Ok(topic) = Topic::parse(text) else { continue };
            match Granted::of(&topic) {
                Ok(Some(topic)) => {
                    allowed.add(draft, &Wanted { written: Some(*written), conditions, text, topic }, before);
                }
                Ok(None) => {}
                Err(why) => draft.tell(written, format!("`{text}` is not allowed: {why}")),
            }
        }
    }
    if let Some(policy) = allowed.policy {
        draft.write(policy, Effect::Allow, &allowed.clients.who, std::mem::take(&mut allowed.lines));
    }
    allowed
}

fn superusers<'i>(draft: &mut Draft<'i, '_>, before: &mut Before<'_, 'i>) -> Allowed<'i> {
    let mut allowed = Allowed::new(None, Rc::new(draft.clients.superusers()));
    if allowed.clients.who.is_nobody() {
        return allowed;
    }
    for space in &draft.index.tenant().claims.topic_space {
        // A filter of the topic space is no template: neither `eq ` nor a variable means anything in it.
        let text = space.filter.as_str();
        if let Ok(Some(topic)) = Granted::of(&Topic::Template(text.split('/').map(level).collect())) {
            let conditions = Conditions::NONE;
            allowed.add(draft, &Wanted { written: None, conditions, text, topic }, before);
        }
    }
    let lines = std::mem::take(&mut allowed.lines).finish();
    if !lines.is_empty() {
        name(draft, None, &BTreeSet::new());
    }
    for (action, and, line) in lines {
        draft.rules.rule(Effect::Allow, &allowed.clients.who, and, action, Topics::Listed(line.topics));
    }
    allowed
}

fn level(text: &str) -> TemplateLevel {
    match text {
        "+" => TemplateLevel::Plus,
        "#" => TemplateLevel::Hash,
        _ => TemplateLevel::Literal(text.into()),
    }
}

impl<'i> Allowed<'i> {
    fn new(policy: Option<&'i Policy>, clients: Rc<Selected>) -> Self {
        Self { policy, clients, lines: Lines::default(), guarded: BTreeMap::new(), held: 0 }
    }

    fn add(&mut self, draft: &mut Draft<'i, '_>, wanted: &Wanted<'_, 'i>, before: &mut Before<'_, 'i>) {
        let Wanted { written, conditions, topic, .. } = wanted;
        let subscribers = if conditions.concern(Action::Subscribe) {
            before.subscribers(draft, &self.clients, wanted)
        } else {
            Subscribers::All
        };
        let rule = written.map(|written| written.rule.index).unwrap_or_default();
        let add = |lines: &mut Lines, share, and: &BTreeSet<Condition>| {
            if let Some(action) = rule::action(*conditions, share) {
                lines.add(&action, and, rule, topic.term.clone());
            }
        };
        match (subscribers, &topic.wider, rule::action(*conditions, Share::Subscribe)) {
            (Subscribers::All, Wider::One(guard), Some(_)) => {
                let turn = (!topic.widest.ends_with('#'), topic.widest.split('/').count());
                let guarded = self.guarded.entry(turn).or_default();
                guarded.rules.insert(rule);
                guarded.refused.insert(guard.clone());
                add(&mut guarded.lines, Share::All, &topic.guards);
            }
            (Subscribers::All, _, _) => add(&mut self.lines, Share::All, &topic.guards),
            (Subscribers::But(values), _, _) => {
                let and = with_others(&topic.guards, values, &mut self.held);
                if draft.meter.has_room_for(self.held) {
                    add(&mut self.lines, Share::Subscribe, &and);
                    add(&mut self.lines, Share::Publish, &topic.guards);
                }
            }
            (Subscribers::Nobody, _, _) => add(&mut self.lines, Share::Publish, &topic.guards),
        }
    }
}

/// Conditions, and that clients have none of some values; counts the bytes that this takes.
fn with_others(
    guards: &BTreeSet<Condition>,
    values: BTreeMap<Field, BTreeSet<String>>,
    held: &mut usize,
) -> BTreeSet<Condition> {
    let mut and = guards.clone();
    for (field, values) in values {
        for pattern in pattern::none_of(values.iter().map(String::as_str)) {
            *held += pattern.len();
            and.insert(Condition::pattern(field.clone(), pattern));
        }
    }
    and
}

impl<'d, 'i> Before<'d, 'i> {
    fn of(denies: &'d [Deny<'i>]) -> Self {
        let (topics, filters) = (Vec::new(), Filters::default());
        let mut before = Self { topics, filters, everywhere: Vec::new(), apart: HashMap::new() };
        for (deny, refused) in denies.iter().flat_map(|deny| deny.topics.iter().map(move |refused| (deny, refused))) {
            // One that denies every topic refuses whatever is asked, in EMQX too.
            let Some(text) = refused.filter() else { continue };
            match Filter::parse(text) {
                Ok(filter) => before.filters.insert(filter, before.topics.len()),
                Err(_) => before.everywhere.push(before.topics.len()),
            }
            before.topics.push((deny, refused));
        }
        before
    }

    /// To whom EMQX can be told to allow subscriptions by a topic, since it allows them no other; tells what is lost.
    fn subscribers(&mut self, draft: &mut Draft<'i, '_>, clients: &Selected, wanted: &Wanted<'_, 'i>) -> Subscribers {
        let Wanted { written, text, topic, .. } = wanted;
        if topic.wider == Wider::Many {
            if let Some(written) = written {
                draft.tell(
                    written,
                    format!(
                        "no subscription is allowed by `{text}`: EMQX would take `#` in the place of its last `+`; end the topic \
                         with `#`, or with a name"
                    ),
                );
            }
            return Subscribers::Nobody;
        }
        let Ok(filter) = Filter::parse(&topic.widest) else { return Subscribers::Nobody };
        if !topic.has_wildcard {
            return Subscribers::All;
        }
        let mut but = BTreeMap::new();
        let Self { topics, filters, everywhere, apart } = self;
        let meter = draft.meter;
        let mut judge = |number: usize| {
            let Some((deny, refused)) = topics.get(number) else { return ControlFlow::Break(()) };
            if !rule::both_about_a_subscription(wanted.conditions, deny.conditions) {
                return ControlFlow::Continue(());
            }
            let escape = topic.escape(refused);
            if escape == Escape::No || are_apart(apart, clients, &deny.clients, meter) {
                return ControlFlow::Continue(());
            }
            tell_escape(draft, wanted, deny, escape, &mut but)
        };
        let found = everywhere.iter().try_for_each(|number| judge(*number));
        let asked = Asked { filter, with_dollars: false };
        match if found.is_break() { found } else { filters.find(asked, meter, &mut judge) } {
            ControlFlow::Break(()) => Subscribers::Nobody,
            ControlFlow::Continue(()) if but.is_empty() => Subscribers::All,
            ControlFlow::Continue(()) => Subscribers::But(but),
        }
    }
}

fn are_apart(known: &mut HashMap<(usize, usize), bool>, one: &Selected, other: &Selected, meter: &Meter<'_>) -> bool {
    *known.entry((one.number, other.number)).or_insert_with(|| one.who.is_apart_from(&other.who, meter))
}

/// Tells that a subscription would get past a Deny; breaks where nobody may subscribe therefore.
fn tell_escape<'i>(
    draft: &mut Draft<'i, '_>,
    wanted: &Wanted<'_, 'i>,
    deny: &Deny<'i>,
    escape: Escape,
    but: &mut BTreeMap<Field, BTreeSet<String>>,
) -> ControlFlow<()> {
    let text = wanted.text;
    let Some(written) = &wanted.written else {
        if let Escape::Only(field, value) = escape {
            but.entry(field).or_default().insert(value);
            return ControlFlow::Continue(());
        }
        let message = format!(
            "superusers may not subscribe within `{text}`: EMQX would not see that a subscription reaches what this refuses; \
             refuse it to others only"
        );
        draft.tell(&deny.written, message);
        return ControlFlow::Break(());
    };
    let (policy, number) = (&deny.written.policy.name, deny.written.rule.index);
    let unseen = format!(
        "EMQX would not see that one reaches what `rules[{number}]` of `{policy}` refuses; allow topics that the Deny does not \
         touch"
    );
    match escape {
        Escape::Only(field, value) => {
            draft.tell(
                written,
                format!("no subscription is allowed by `{text}` to clients whose {field} is `{value}`: {unseen}"),
            );
            but.entry(field).or_default().insert(value);
            ControlFlow::Continue(())
        }
        Escape::No | Escape::Yes => {
            draft.tell(written, format!("no subscription is allowed by `{text}`: {unseen}"));
            ControlFlow::Break(())
        }
    }
}

fn name(draft: &mut Draft<'_, '_>, policy: Option<&Policy>, rules: &BTreeSet<u32>) {
    match policy {
        Some(policy) => draft.name(policy, rules),
        None => draft.rules.comment("superusers"),
    }
}
