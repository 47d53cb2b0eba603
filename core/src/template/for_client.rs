//! A topic with one client's values in the place of its variables, and what it then grants or refuses.

use super::render::{Position, Unusable, unusable};
use super::{Part, TemplateLevel, Topic, Variable};
use crate::policy::Effect;
use crate::topic::{Filter, covers, covers_with_dollars, overlaps, overlaps_with_dollars};
use crate::verdict::{Request, Target};

/// A topic of a rule as it stands for one client, on a broker that writes topics as MQTT does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientTopic {
    /// A valid topic filter.
    Filter(String),
    /// Of a Deny: a topic filter whose leading wildcard reaches names that start with `$` too, since it stands for a value that
    /// cannot be used.
    WithDollars(String),
    /// The valid filter after `eq `, literally.
    Exact(String),
    /// Of a Deny: every topic there is.
    Everything,
}

impl ClientTopic {
    /// Whether a topic of an Allow grants a request.
    #[must_use]
    pub fn grants(&self, request: &Request<'_>) -> bool {
        match (self, request.target) {
            (Self::Filter(text), target) => Filter::parse(text).is_ok_and(|filter| match target {
                Target::Publish(name) => filter.matches(name),
                Target::Subscribe(asked) => covers(filter, asked),
            }),
            (Self::Exact(text), Target::Publish(name)) => text == name.as_str(),
            (Self::Exact(text), Target::Subscribe(asked)) => text == asked.as_str(),
            (Self::WithDollars(_) | Self::Everything, _) => false,
        }
    }

    /// Whether a topic of a Deny refuses a request.
    #[must_use]
    pub fn refuses(&self, request: &Request<'_>) -> bool {
        // A filter that does not parse is a fault of ours, and must deny.
        let parsed = |text, test: &dyn Fn(Filter<'_>) -> bool| Filter::parse(text).map_or(true, test);
        match (self, request.target) {
            (Self::Everything, _) => true,
            (Self::Filter(text), Target::Publish(name)) => parsed(text, &|filter| filter.matches(name)),
            (Self::Filter(text), Target::Subscribe(asked)) => parsed(text, &|filter| overlaps(filter, asked)),
            (Self::WithDollars(text), Target::Publish(name)) => {
                parsed(text, &|filter| covers_with_dollars(filter, name.into()))
            }
            (Self::WithDollars(text), Target::Subscribe(asked)) => {
                parsed(text, &|filter| overlaps_with_dollars(filter, asked))
            }
            (Self::Exact(text), Target::Publish(name)) => text == name.as_str(),
            (Self::Exact(text), Target::Subscribe(asked)) => parsed(text, &|filter| covers(asked, filter)),
        }
    }
}

impl Topic {
    /// The topic with a client's values in the place of its variables; `None` where it says nothing for the client: an Allow
    /// with a value that cannot be used.
    pub fn for_client<'v>(&self, effect: Effect, value: impl Fn(&Variable) -> Option<&'v str>) -> Option<ClientTopic> {
        let levels = match self {
            Self::Exact(filter) => return Some(ClientTopic::Exact(filter.to_string())),
            Self::Template(levels) => levels,
        };
        let mut texts = Vec::with_capacity(levels.len());
        let mut with_dollars = false;
        for (place, level) in levels.iter().enumerate() {
            let position = Position { first: place == 0, dotted: false };
            match render_level(level, position, &value) {
                Ok(text) => texts.push(text),
                Err(_) if effect == Effect::Allow => return None,
                Err(fault) => {
                    with_dollars |= place == 0;
                    let grows = fault == Unusable::Below || place + 1 == levels.len();
                    texts.push(if grows { "#" } else { "+" }.to_owned());
                    if grows {
                        break;
                    }
                }
            }
        }
        let text = texts.join("/");
        Some(if with_dollars { ClientTopic::WithDollars(text) } else { ClientTopic::Filter(text) })
    }
}

fn render_level<'v>(
    level: &TemplateLevel,
    position: Position,
    value: impl Fn(&Variable) -> Option<&'v str>,
) -> Result<String, Unusable> {
    match level {
        TemplateLevel::Literal(text) => Ok(text.to_string()),
        TemplateLevel::Plus => Ok("+".to_owned()),
        TemplateLevel::Hash => Ok("#".to_owned()),
        TemplateLevel::Variable(parts) => match unusable(parts, position, &value) {
            Some(fault) => Err(fault),
            None => Ok(parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text,
                    Part::Variable(variable) => value(variable).unwrap_or_default(),
                })
                .collect()),
        },
    }
}
