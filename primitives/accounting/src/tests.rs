//! Each formula against numbers worked out by hand and against arithmetic of another kind.

mod amounts;
mod price;
mod slots;
mod votes;
mod wide;
