//! The blocking runtime's disk for one thread: each request is done when it is begun.

use alloc::collections::VecDeque;
use core::time::Duration;

use iscsi_core::digest::DigestKind;
use iscsi_core::{Command, Config, DiscoveryScope, Lun, Portal};
use iscsi_disk::Request;
use iscsi_runtime::{Completed, Discovery, Error, Failed, Options, Payload};
use iscsi_runtime_std::{Client, Disk, discover};

use crate::{Path, Runtime, Standing};

pub(super) struct Exclusive;

struct One {
    disk: Disk,
    begun: u64,
    ended: VecDeque<(u64, Result<Payload, Failed>)>,
}

impl Runtime for Exclusive {
    fn name(&self) -> &'static str {
        "std"
    }

    fn open(
        &self,
        config: Config,
        portal: Portal,
        lun: Lun,
        options: &Options,
    ) -> Result<Box<dyn Path>, Error> {
        let disk = Disk::open(Client::connect_with(config, portal, options)?, lun)?;
        Ok(Box::new(One { disk, begun: 0, ended: VecDeque::new() }))
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

impl Path for One {
    fn submit(&mut self, request: Request, mut payload: Payload) -> u64 {
        let result = self.disk.request(request, payload.borrow());
        let end = match result {
            Ok(()) => Ok(payload),
            Err(error) => Err(Failed { error, payload }),
        };
        self.begun += 1;
        self.ended.push_back((self.begun, end));
        self.begun
    }

    fn next(&mut self) -> (u64, Result<Payload, Failed>) {
        self.ended.pop_front().expect("a request was begun")
    }

    fn abandon(&mut self, number: u64) {
        self.ended.retain(|(begun, _)| *begun != number);
    }

    fn execute(
        &mut self,
        command: &Command<'_>,
        mut payload: Payload,
    ) -> Result<(Completed, Payload), Failed> {
        match self.disk.client().execute(command, payload.borrow()) {
            Ok(completed) => Ok((completed, payload)),
            Err(error) => Err(Failed { error, payload }),
        }
    }

    fn ping(&mut self) -> Result<Duration, Error> {
        self.disk.client().ping()
    }

    fn force_reconnect(&mut self) -> Result<(), Error> {
        self.disk.client().force_reconnect()
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        self.disk.reconnect()
    }

    fn standing(&mut self) -> Standing {
        let session = self.disk.client().session();
        let negotiated = session.negotiated();
        let is_on = |kind| kind != DigestKind::None;
        Standing {
            state: session.state(),
            in_use: session.in_use(),
            logins: session.counters().logins,
            lost: session.counters().connections_lost,
            digests: [negotiated.header_digest, negotiated.data_digest].map(is_on),
        }
    }

    fn capacity(&self) -> u64 {
        self.disk.capacity()
    }

    fn shut_down(self: Box<Self>) -> Result<(), Error> {
        self.disk.logout()
    }
}
