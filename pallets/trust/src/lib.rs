//! Attestations, behaviour and the score that they give a node.
