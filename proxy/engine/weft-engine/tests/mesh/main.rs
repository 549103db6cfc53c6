//! Real engines on loopback: frames to their sockets, requests through their ports, certificates of a CA made for the test.

mod support;

mod changes;
mod control;
mod forwarding;
mod gateway;
mod handover;
mod http2;
mod identity;
mod lives;
mod messages;
mod open;
mod outside;
mod refusals;
mod resilience;
mod strangers;
mod tcp;
mod upgrades;
mod versions;
