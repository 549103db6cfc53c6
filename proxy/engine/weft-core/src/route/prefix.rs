//! Prefixes of whole segments, longest first: a list while there are few, a trie of segments beyond.

use std::collections::HashMap;

use super::item::Item;

/// Up to here a list is as quick (measured: 20 to 30).
const FEW: usize = 32;

#[derive(Clone, Debug)]
pub(crate) enum Prefixes {
    List(Box<[(Box<str>, Vec<Item>)]>),
    Trie(Vec<Node>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    parent: usize,
    children: HashMap<Box<str>, usize>,
    length: usize,
    items: Vec<Item>,
}

/// Whether a path starts with a prefix of whole segments: `/v2` with `/v2` and `/v2/x`, not `/v20`. The prefix comes
/// without its last slash.
pub fn has_prefix(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

// === impl Prefixes ===

impl Prefixes {
    pub(crate) fn new(prefixes: HashMap<Box<str>, Vec<Item>>) -> Prefixes {
        if prefixes.len() > FEW {
            return Prefixes::Trie(trie(prefixes));
        }
        let mut list: Vec<_> = prefixes.into_iter().collect();
        list.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Prefixes::List(list.into())
    }

    /// What `accept` first takes of the items and lengths of the prefixes that a path has, longest first.
    pub(crate) fn find<T>(
        &self,
        path: &str,
        accept: impl Fn(&[Item], usize) -> Option<T>,
    ) -> Option<T> {
        match self {
            Prefixes::List(list) => list
                .iter()
                .filter(|(prefix, _)| has_prefix(path, prefix))
                .find_map(|(prefix, items)| accept(items, prefix.len())),
            Prefixes::Trie(nodes) => {
                let mut deepest = 0;
                for segment in path.split('/').skip(1) {
                    match nodes[deepest].children.get(segment) {
                        Some(child) => deepest = *child,
                        None => break,
                    }
                }
                // The root is its own parent; it is looked at once, last.
                let upwards = std::iter::successors(Some(deepest), |node| {
                    (*node != 0).then(|| nodes[*node].parent)
                });
                upwards
                    .map(|node| &nodes[node])
                    .find_map(|node| accept(&node.items, node.length))
            }
        }
    }
}

impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes::List(Box::default())
    }
}

fn trie(prefixes: HashMap<Box<str>, Vec<Item>>) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    for (prefix, items) in prefixes {
        let mut node = 0;
        for segment in prefix.split('/').skip(1) {
            node = match nodes[node].children.get(segment) {
                Some(child) => *child,
                None => {
                    let child = nodes.len();
                    nodes.push(Node {
                        parent: node,
                        ..Node::default()
                    });
                    nodes[node].children.insert(segment.into(), child);
                    child
                }
            };
        }
        nodes[node].length = prefix.len();
        nodes[node].items = items;
    }
    nodes
}
