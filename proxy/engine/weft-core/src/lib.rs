//! What the engine decides, without doing any of it.
//!
//! Values in, values out: no socket, no clock, no task. Time comes as a [`time::Moment`], randomness as an argument. What
//! workers share is in atomics ([`endpoint`], [`limit`], [`budget`]); what one worker keeps for itself is `&mut`
//! ([`balance`]). The input is validated ([`weft_model::Snapshot`]), so building a decision hardly fails; deciding never
//! does.
//!
//! The order of one request: [`path`] is it clean · [`access`] may the caller · [`route`] which rule · [`target`] which
//! service · [`rate`] and [`limit`] is there room · [`fault`] is it broken on purpose · [`balance`] which endpoint · then, by what came of it, [`outlier`] and [`retry`]
//! with its [`budget`]. Whatever goes wrong is one [`reason::Reason`].

pub mod access;
pub mod announce;
pub mod balance;
pub mod budget;
pub mod caller;
pub mod endpoint;
pub mod fault;
pub mod header;
pub mod hello;
pub mod limit;
pub mod matcher;
pub mod outlier;
pub mod path;
pub mod rate;
pub mod reason;
pub mod retry;
pub mod route;
pub mod target;
pub mod time;

mod pattern;
