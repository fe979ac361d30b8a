//! A TCP proxy that breaks connections on purpose: between an initiator and a target, or any two programs.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use iscsi_fault_proxy::FaultProxy;
//!
//! let server = TcpListener::bind("127.0.0.1:0")?;
//! let proxy = FaultProxy::to(server.local_addr()?).seed(7).cut_after_bytes(5..=5).start()?;
//! let mut client = TcpStream::connect(proxy.addr())?;
//! client.write_all(b"hello, world")?;
//! let mut received = Vec::new();
//! let end = server.accept()?.0.read_to_end(&mut received);
//! assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
//! assert!(received.len() <= 5);
//! assert_eq!(proxy.connections(), 1);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What it does is decided by the seed, the number of the connection and the number of bytes that have passed, never by the
//! clock or by how the bytes came: the same seed breaks the same stream at the same byte. Only faults that are counted over both
//! ways at once hit each way where it happens to be by then. [`FaultProxy::log`] tells what was done.
//!
//! Each connection has a thread, which waits with poll(2): there is no work without bytes, and nothing is waited for longer than
//! needed. Dropping the proxy ends all of them.

mod builder;
mod link;
mod log;
mod login;
mod pipe;
mod plan;
mod proxy;

pub use builder::Builder;
pub use log::{Counters, Entry, Event};
pub use plan::{Fault, Way};
pub use proxy::FaultProxy;
