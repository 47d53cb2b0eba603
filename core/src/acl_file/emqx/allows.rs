//! The Allows of a tenant: to no clients, topics and actions but those that are meant.
//!
//! Those of which EMQX takes one subscription too many come last, each after a rule that refuses just that subscription:
//! whatever else allows it has then been tried. Of two that end in `+/#`, the longer one's extra subscription may be covered
//! by the shorter one; nothing that ends in `+` covers what ends in `#`.

use std::collections::{BTreeMap, BTreeSet};

use super::denies::Deny;
use super::pattern;
use super::rule::{self, Share, Topics};
use super::term::Term;
use super::topics::{Escape, Granted, Wider, exactly};
use super::who::{Condition, Field, Who};
use super::{Draft, Written};
use crate::policy::{Action, Effect, Topics as WrittenTopics};
use crate::rules::Conditions;
use crate::template::{TemplateLevel, Topic};

/// A topic of which one subscription has to be refused first.
struct Guarded<'i> {
    written: Option<Written<'i>>,
    who: Who,
    conditions: Conditions,
    topic: Granted,
    guard: String,
}

/// Topics of one rule that can stand in one rule of the file.
type Group = (Share, BTreeSet<Condition>);

/// Who may subscribe by a topic.
enum Subscribers {
    /// All that may publish.
    All,
    /// All but those with one of these values.
    But(BTreeMap<Field, BTreeSet<String>>),
    Nobody,
}

/// Writes them; `denies` stand in the file before.
pub(super) fn write(draft: &mut Draft<'_>, allows: &[Written<'_>], denies: &[Deny<'_>]) {
    let mut guarded = Vec::new();
    for written in allows {
        one(draft, *written, denies, &mut guarded);
    }
    superusers(draft, denies, &mut guarded);
    guarded.sort_by_key(|it| (!it.topic.widest.ends_with('#'), it.topic.widest.split('/').count()));
    for Guarded { written, who, conditions, topic, guard } in guarded {
        let Some(action) = rule::action(conditions, Share::All) else { continue };
        name(draft, written.as_ref());
        let refused = Topics::Listed(vec![exactly(&guard)]);
        draft.rules.rule(Effect::Deny, &who, [], Term::Atom("subscribe"), refused);
        draft.rules.rule(Effect::Allow, &who, topic.guards, action, Topics::Listed(vec![topic.term]));
    }
}

fn one<'i>(draft: &mut Draft<'_>, written: Written<'i>, denies: &[Deny<'_>], guarded: &mut Vec<Guarded<'i>>) {
    let conditions = written.conditions();
    let WrittenTopics::Listed(texts) = &written.rule.topics else { return };
    if rule::action(conditions, Share::All).is_none() {
        return;
    }
    let selected = draft.clients.selected(&written.policy.subjects, Effect::Allow);
    if selected.by_scram {
        let message = "not allowed to clients of a selected credential with a `clientIdPrefix` that log in by SCRAM: EMQX \
                       cannot tell whose they are; let them log in with a password instead";
        draft.narrowed.insert(written.narrowed(message.to_owned()));
    }
    if selected.who.is_nobody() {
        return;
    }
    let mut topics = Vec::new();
    for text in texts {
        let Ok(topic) = Topic::parse(text) else { continue };
        match Granted::of(&topic) {
            Ok(granted) => topics.extend(granted.map(|granted| (text.as_str(), granted))),
            Err(why) => {
                draft.narrowed.insert(written.narrowed(format!("`{text}` is not allowed: {why}")));
            }
        }
    }
    write_topics(draft, Some(written), (&selected.who, conditions), topics, denies, guarded);
}

fn superusers(draft: &mut Draft<'_>, denies: &[Deny<'_>], guarded: &mut Vec<Guarded<'_>>) {
    let who = draft.clients.superusers();
    if who.is_nobody() {
        return;
    }
    let space = draft.index.tenant().claims.topic_space.iter().map(|space| space.filter.as_str());
    // A filter of the topic space is no template: neither `eq ` nor a variable means anything in it.
    let levels = |filter: &str| filter.split('/').map(level).collect();
    let granted = |filter| Some((filter, Granted::of(&Topic::Template(levels(filter))).ok()??));
    let topics: Vec<_> = space.filter_map(granted).collect();
    write_topics(draft, None, (&who, Conditions::NONE), topics, denies, guarded);
}

fn level(text: &str) -> TemplateLevel {
    match text {
        "+" => TemplateLevel::Plus,
        "#" => TemplateLevel::Hash,
        _ => TemplateLevel::Literal(text.into()),
    }
}

fn write_topics<'i>(
    draft: &mut Draft<'_>,
    written: Option<Written<'i>>,
    (who, conditions): (&Who, Conditions),
    topics: Vec<(&str, Granted)>,
    denies: &[Deny<'_>],
    guarded: &mut Vec<Guarded<'i>>,
) {
    let mut groups: BTreeMap<Group, Vec<Term>> = BTreeMap::new();
    for (text, topic) in topics {
        let subscribers = if conditions.concern(Action::Subscribe) {
            subscribers(draft, written, (who, conditions), (text, &topic), denies)
        } else {
            Subscribers::All
        };
        let mut add = |share, guards| {
            if rule::action(conditions, share).is_some() {
                groups.entry((share, guards)).or_default().push(topic.term.clone());
            }
        };
        match (subscribers, &topic.wider, rule::action(conditions, Share::Subscribe)) {
            (Subscribers::All, Wider::One(guard), Some(_)) => {
                guarded.push(Guarded { written, who: who.clone(), conditions, guard: guard.clone(), topic });
            }
            (Subscribers::All, _, _) => add(Share::All, topic.guards.clone()),
            (Subscribers::But(values), _, _) => {
                let others = |(field, values): (Field, BTreeSet<String>)| {
                    let patterns = pattern::none_of(values.iter().map(String::as_str)).into_iter();
                    patterns.map(move |pattern| Condition::pattern(field.clone(), pattern))
                };
                let guards = topic.guards.iter().cloned().chain(values.into_iter().flat_map(others)).collect();
                add(Share::Subscribe, guards);
                add(Share::Publish, topic.guards.clone());
            }
            (Subscribers::Nobody, _, _) => add(Share::Publish, topic.guards.clone()),
        }
    }
    if !groups.is_empty() {
        name(draft, written.as_ref());
    }
    for ((share, guards), terms) in groups {
        if let Some(action) = rule::action(conditions, share) {
            draft.rules.rule(Effect::Allow, who, guards, action, Topics::Listed(terms));
        }
    }
}

/// To whom EMQX can be told to allow subscriptions by a topic, since it allows them no other; tells what is lost.
fn subscribers(
    draft: &mut Draft<'_>,
    written: Option<Written<'_>>,
    (who, conditions): (&Who, Conditions),
    (text, topic): (&str, &Granted),
    denies: &[Deny<'_>],
) -> Subscribers {
    let mut but: BTreeMap<Field, BTreeSet<String>> = BTreeMap::new();
    let mut tell = |message| draft.narrowed.extend(written.map(|written| written.narrowed(message)));
    if topic.wider == Wider::Many {
        tell(format!(
            "no subscription is allowed by `{text}`: EMQX would take `#` in the place of its last `+`; end the topic with `#`, or \
             with a name"
        ));
        return Subscribers::Nobody;
    }
    for deny in denies.iter().filter(|deny| rule::both_about_a_subscription(conditions, deny.conditions)) {
        for refused in &deny.topics {
            let escape = topic.escape(refused);
            if escape == Escape::No || who.is_apart_from(&deny.who) {
                continue;
            }
            let (policy, number) = (&deny.written.policy.name, deny.written.rule.index);
            let unseen = format!(
                "EMQX would not see that one reaches what `rules[{number}]` of `{policy}` refuses; allow topics that the Deny \
                 does not touch"
            );
            match (escape, written) {
                (Escape::Only(field, value), _) => {
                    tell(format!(
                        "no subscription is allowed by `{text}` to clients whose {field} is `{value}`: {unseen}"
                    ));
                    but.entry(field).or_default().insert(value);
                }
                (_, Some(_)) => {
                    tell(format!("no subscription is allowed by `{text}`: {unseen}"));
                    return Subscribers::Nobody;
                }
                (_, None) => {
                    let message = format!(
                        "superusers may not subscribe within `{text}`: EMQX would not see that a subscription reaches what \
                         this refuses; refuse it to others only"
                    );
                    draft.narrowed.insert(deny.written.narrowed(message));
                    return Subscribers::Nobody;
                }
            }
        }
    }
    if but.is_empty() { Subscribers::All } else { Subscribers::But(but) }
}

fn name(draft: &mut Draft<'_>, written: Option<&Written<'_>>) {
    match written {
        Some(written) => draft.name(written),
        None => draft.rules.comment("superusers"),
    }
}
