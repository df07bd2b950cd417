//! Small networks for the tests of routes, described by their links alone.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeSet;
use x0_mesh::{
    NodeId,
    route::{Adjacency, Graph},
};

/// A link between two nodes.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub a: usize,
    pub b: usize,
    pub underlay_a: u32,
    pub underlay_b: u32,
    pub quality: u16,
}

/// Nodes and links. Labels are a function of node and link, so that an oracle can name them too.
#[derive(Clone, Debug)]
pub struct Net {
    pub nodes: usize,
    pub links: Vec<Link>,
}

/// The name of the node with this number.
pub fn name(node: usize) -> NodeId {
    NodeId([u8::try_from(node + 1).unwrap(); 32])
}

/// The number of the node with this name.
pub fn number(node: &NodeId) -> usize {
    usize::from(node.0[0]) - 1
}

/// What `node` calls its end of a link.
pub fn label(node: usize, link: usize) -> u32 {
    u32::try_from((node + 1) * 1_000 + link).unwrap()
}

/// The node and link that a label of [`label`] names.
pub fn owner(label: u32) -> (usize, usize) {
    (usize::try_from(label / 1_000).unwrap() - 1, usize::try_from(label % 1_000).unwrap())
}

impl Net {
    /// What a node claims when everything is up.
    pub fn claims(&self, node: usize) -> Vec<Adjacency> {
        let mut claims = Vec::new();
        for (number, link) in self.links.iter().enumerate() {
            for (end, other, underlay) in [(link.a, link.b, link.underlay_a), (link.b, link.a, link.underlay_b)] {
                if end == node {
                    claims.push(Adjacency {
                        neighbour: name(other),
                        label: label(node, number),
                        underlay,
                        quality: link.quality,
                        up: true,
                    });
                }
            }
        }
        claims
    }

    /// The graph when everything is up.
    pub fn graph(&self) -> Graph {
        let claims: Vec<_> = (0..self.nodes).map(|node| self.claims(node)).collect();
        Graph::build(claims.iter().enumerate().map(|(node, all)| (name(node), all.as_slice())), &BTreeSet::new())
    }

    /// The other end of a link.
    pub fn other(&self, node: usize, link: usize) -> usize {
        let link = &self.links[link];
        if link.a == node { link.b } else { link.a }
    }
}
