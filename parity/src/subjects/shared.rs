//! The blocking runtime's disk for many threads.

use alloc::collections::VecDeque;
use core::time::Duration;

use iscsi_core::{Command, Config, DiscoveryScope, Lun, Portal};
use iscsi_disk::Request;
use iscsi_runtime::{Completed, Discovery, Error, Failed, Options, Payload};
use iscsi_runtime_std::{Client, Disk, SharedDisk, Ticket, discover};

use crate::{Path, Runtime, Standing};

pub(super) struct Shared;

struct Tickets {
    disk: SharedDisk,
    begun: u64,
    tickets: VecDeque<(u64, Ticket<Payload>)>,
}

impl Runtime for Shared {
    fn name(&self) -> &'static str {
        "std-shared"
    }

    fn open(
        &self,
        config: Config,
        portal: Portal,
        lun: Lun,
        options: &Options,
    ) -> Result<Box<dyn Path>, Error> {
        let disk = Disk::open(Client::connect_with(config, portal, options)?, lun)?;
        let disk = SharedDisk::new(disk)?;
        Ok(Box::new(Tickets { disk, begun: 0, tickets: VecDeque::new() }))
    }

    fn discover(
        &self,
        config: Config,
        portal: Portal,
        scope: DiscoveryScope<'_>,
    ) -> Result<Discovery, Error> {
        discover(config, portal, scope, &Options::default())
    }
}

impl Path for Tickets {
    fn submit(&mut self, request: Request, payload: Payload) -> u64 {
        self.begun += 1;
        self.tickets.push_back((self.begun, self.disk.submit(request, payload)));
        self.begun
    }

    fn next(&mut self) -> (u64, Result<Payload, Failed>) {
        let (number, ticket) = self.tickets.pop_front().expect("a request was begun");
        (number, ticket.wait())
    }

    fn abandon(&mut self, number: u64) {
        self.tickets.retain(|(begun, _)| *begun != number);
    }

    fn execute(
        &mut self,
        command: &Command<'_>,
        payload: Payload,
    ) -> Result<(Completed, Payload), Failed> {
        self.disk.handle().execute(command, payload)
    }

    fn ping(&mut self) -> Result<Duration, Error> {
        self.disk.handle().ping()
    }

    fn force_reconnect(&mut self) -> Result<(), Error> {
        self.disk.handle().force_reconnect()
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        self.disk.handle().reconnect()
    }

    fn standing(&mut self) -> Standing {
        self.disk.handle().status().expect("it was not shut down").into()
    }

    fn capacity(&self) -> u64 {
        self.disk.capacity()
    }

    fn shut_down(self: Box<Self>) -> Result<(), Error> {
        self.disk.handle().shut_down()
    }
}
