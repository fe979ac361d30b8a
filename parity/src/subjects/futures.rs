//! The async runtime, with one future awaited at a time.

use alloc::collections::VecDeque;
use core::time::Duration;

use iscsi_core::{Command, Config, DiscoveryScope, Lun, Portal};
use iscsi_disk::Request;
use iscsi_runtime::{Completed, Discovery, Error, Failed, Options, Payload};
use iscsi_runtime_smol::{Disk, Handle, Memory, Ticket, discover};
use smol::block_on;

use crate::{Path, Runtime, Standing};

pub(super) struct Smol;

struct Tickets {
    disk: Disk,
    begun: u64,
    tickets: VecDeque<(u64, Ticket<Memory>)>,
}

impl Runtime for Smol {
    fn name(&self) -> &'static str {
        "smol"
    }

    fn open(
        &self,
        config: Config,
        portal: Portal,
        lun: Lun,
        options: &Options,
    ) -> Result<Box<dyn Path>, Error> {
        let disk = block_on(async {
            let handle = Handle::connect(config, portal, options).await?;
            handle.open(lun).await
        })?;
        Ok(Box::new(Tickets { disk, begun: 0, tickets: VecDeque::new() }))
    }

    fn discover(
        &self,
        config: Config,
        portal: Portal,
        scope: DiscoveryScope<'_>,
    ) -> Result<Discovery, Error> {
        block_on(discover(config, portal, scope, &Options::default()))
    }
}

/// The same memory, as the async runtime has it. No behaviour moves data both ways.
fn memory(payload: Payload) -> Memory {
    match payload {
        Payload::None => Memory::None,
        Payload::In(r#in) => Memory::In(r#in.as_slice().into()),
        Payload::Out(out) => Memory::Out(out.into()),
        Payload::Both { out, r#in } => {
            Memory::Both { out: out.into(), r#in: r#in.as_slice().into() }
        }
    }
}

fn payload(memory: Memory) -> Payload {
    match memory {
        Memory::In(r#in) => Payload::In(r#in.into()),
        Memory::Out(out) => Payload::Out(out.into()),
        Memory::Both { out, r#in } => Payload::Both { out: out.into(), r#in: r#in.into() },
        _ => Payload::None,
    }
}

fn failed(failed: Failed<Memory>) -> Failed {
    Failed { error: failed.error, payload: payload(failed.payload) }
}

impl Path for Tickets {
    fn submit(&mut self, request: Request, payload: Payload) -> u64 {
        self.begun += 1;
        let ticket = self.disk.submit(request, memory(payload));
        self.tickets.push_back((self.begun, ticket));
        self.begun
    }

    fn next(&mut self) -> (u64, Result<Payload, Failed>) {
        let (number, ticket) = self.tickets.pop_front().expect("a request was begun");
        (number, block_on(ticket).map(payload).map_err(failed))
    }

    fn abandon(&mut self, number: u64) {
        self.tickets.retain(|(begun, _)| *begun != number);
    }

    fn execute(
        &mut self,
        command: &Command<'_>,
        data: Payload,
    ) -> Result<(Completed, Payload), Failed> {
        let executed = block_on(self.disk.handle().execute(command, memory(data)));
        executed.map(|(completed, memory)| (completed, payload(memory))).map_err(failed)
    }

    fn ping(&mut self) -> Result<Duration, Error> {
        block_on(self.disk.handle().ping())
    }

    fn force_reconnect(&mut self) -> Result<(), Error> {
        block_on(self.disk.handle().force_reconnect())
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        block_on(self.disk.handle().reconnect())
    }

    fn standing(&mut self) -> Standing {
        block_on(self.disk.handle().status()).expect("it was not shut down").into()
    }

    fn capacity(&self) -> u64 {
        self.disk.capacity()
    }

    fn shut_down(mut self: Box<Self>) -> Result<(), Error> {
        // Dropped, what was not sent yet would be left out.
        self.tickets.drain(..).for_each(|(_, ticket)| ticket.detach());
        block_on(self.disk.handle().shut_down())
    }
}
