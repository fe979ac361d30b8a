//! The async runtime against this project's target, over loopback sockets.

mod dropped;
mod loopback;
mod recovery;
mod shutdown;
mod streams;
mod support;

#[expect(dead_code, reason = "its main is for the command line")]
#[path = "../../examples/on_tokio.rs"]
mod on_tokio;
#[expect(dead_code, reason = "its main is for the command line")]
#[path = "../../examples/read_write.rs"]
mod read_write;
