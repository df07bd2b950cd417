//! Genesis presets.
