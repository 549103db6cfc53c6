//! Real engines on loopback: frames to their sockets, requests through their ports, certificates of a CA made for the test.

mod support;

mod control;
mod forwarding;
mod gateway;
mod identity;
mod messages;
mod outside;
mod resilience;
mod tcp;
