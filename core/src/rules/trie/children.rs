//! The children of a node by their text.
//!
//! Most nodes have one at most, and there are many nodes: such a child is compared with, not looked up, and costs no table.

use hashbrown::HashMap;

use super::NodeId;
use crate::template::MAX_TEMPLATE_BYTES;

#[derive(Debug, Default)]
pub(in crate::rules) struct Children(Held);

#[derive(Debug, Default)]
enum Held {
    #[default]
    None,
    One((Box<str>, NodeId)),
    Many(Box<HashMap<Box<str>, NodeId>>),
}

impl Children {
    pub(in crate::rules) fn get(&self, text: &str) -> Option<NodeId> {
        match &self.0 {
            Held::None => None,
            Held::One((known, child)) => (**known == *text).then_some(*child),
            // A level of a request may be 64 KiB long, and would be hashed at every node that it reaches.
            Held::Many(_) if text.len() > MAX_TEMPLATE_BYTES => None,
            Held::Many(children) => children.get(text).copied(),
        }
    }

    pub(in crate::rules) fn iter(&self) -> impl Iterator<Item = (&str, NodeId)> {
        let (one, many) = match &self.0 {
            Held::None => (None, None),
            Held::One((text, child)) => (Some((text, child)), None),
            Held::Many(children) => (None, Some(children.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten()).map(|(text, child)| (&**text, *child))
    }

    /// The child with this text; where there is none, `fresh` becomes it.
    pub(super) fn get_or_insert(&mut self, text: &str, fresh: NodeId) -> NodeId {
        if let Some(child) = self.get(text) {
            return child;
        }
        self.0 = match std::mem::take(&mut self.0) {
            Held::None => Held::One((text.into(), fresh)),
            Held::One(first) => Held::Many(Box::new([first, (text.into(), fresh)].into_iter().collect())),
            Held::Many(mut children) => {
                children.insert(text.into(), fresh);
                Held::Many(children)
            }
        };
        fresh
    }
}
