//! Towards the services: connections, opened when needed, kept while they are good.

mod connect;
mod connection;
mod pool;

pub(crate) use connect::{ConnectError, Secure, connect};
pub(crate) use connection::Connection;
pub(crate) use pool::{Key, Pool};
