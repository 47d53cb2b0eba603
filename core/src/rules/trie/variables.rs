//! The children of a node that have variables in their level.
//!
//! Most nodes have one at most: it is compared with. Many are found by what they spell.

use super::NodeId;
use crate::client::Client;
use crate::template::render::{self, Position};
use crate::template::{Part, Spellings};

/// As many are compared with one by one.
const FEW: usize = 4;

#[derive(Debug, Default)]
pub(in crate::rules) struct Variables(Held);

#[derive(Debug, Default)]
enum Held {
    #[default]
    None,
    Few(Vec<(Box<[Part]>, NodeId)>),
    Many(Box<Spellings>),
}

impl Variables {
    /// Hands on the children whose level spells a text for a client, and whose values may be used.
    pub(in crate::rules) fn spelt(
        &self,
        text: &str,
        client: &Client<'_>,
        position: Position,
        mut then: impl FnMut(NodeId),
    ) {
        match &self.0 {
            Held::None => {}
            Held::Few(children) => {
                for (parts, child) in children {
                    let value = |variable: &_| client.variable(variable);
                    if render::spells(parts, text, value) && render::unusable(parts, position, value).is_none() {
                        then(*child);
                    }
                }
            }
            Held::Many(_) if position.dotted && render::is_dotted(text) => {}
            Held::Many(children) => {
                let value = |variable: &_| client.variable(variable);
                let usable = children.groups().iter().filter(|group| group.unusable(position, value).is_none());
                usable.for_each(|group| children.spelt(group, text, value, &mut then));
            }
        }
    }

    /// Hands on every child whose values may be used, with the text that its level begins with.
    pub(in crate::rules) fn each(&self, client: &Client<'_>, position: Position, mut then: impl FnMut(&[u8], NodeId)) {
        let value = |variable: &_| client.variable(variable);
        match &self.0 {
            Held::None => {}
            Held::Few(children) => {
                for (parts, child) in children {
                    let leading = match parts.first() {
                        Some(Part::Text(text)) => text.as_bytes(),
                        _ => &[],
                    };
                    if render::unusable(parts, position, value).is_none() {
                        then(leading, *child);
                    }
                }
            }
            Held::Many(children) => {
                let usable = children.iter().filter(|(group, ..)| group.unusable(position, value).is_none());
                usable.for_each(|(_, leading, child)| then(leading, child));
            }
        }
    }

    /// The child with this level; where there is none, `fresh` becomes it.
    pub(super) fn get_or_insert(&mut self, parts: &[Part], fresh: NodeId) -> NodeId {
        self.0 = match std::mem::take(&mut self.0) {
            Held::None => Held::Few(Vec::from([(parts.into(), fresh)])),
            Held::Few(mut children) => {
                if let Some((_, child)) = children.iter().find(|(known, _)| **known == *parts) {
                    let child = *child;
                    self.0 = Held::Few(children);
                    return child;
                }
                children.push((parts.into(), fresh));
                if children.len() <= FEW { Held::Few(children) } else { Held::Many(Box::new(many(children))) }
            }
            Held::Many(mut children) => {
                let (_, child) = children.get_or_insert(parts, || fresh);
                self.0 = Held::Many(children);
                return child;
            }
        };
        fresh
    }

    pub(super) fn shrink(&mut self) {
        match &mut self.0 {
            Held::None => {}
            Held::Few(children) => children.shrink_to_fit(),
            Held::Many(children) => children.shrink(),
        }
    }
}

fn many(children: Vec<(Box<[Part]>, NodeId)>) -> Spellings {
    let mut spellings = Spellings::default();
    for (parts, child) in children {
        spellings.get_or_insert(&parts, || child);
    }
    spellings
}
