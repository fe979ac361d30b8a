//! Answers out.

use core::mem;

use iscsi_core::wire::TaskManagementResponseCode;
use iscsi_core::{Event, LostReason, SessionState, TaskManagementId};

use super::{Front, Service};
use crate::engine::task_end;
use crate::error::Error;
use crate::reactor::Reactor;
use crate::reply::Reply as _;

impl<R: Reactor, F: Front> Service<R, F> {
    /// Tells everybody what has ended. True if anything has.
    pub(super) fn settle(&mut self) -> bool {
        let mut any = false;
        let now = self.engine.now();
        while let Some(event) = self.engine.session.poll_event() {
            any = true;
            // Events about the session are for all disks.
            let mut taken = false;
            for unit in &mut self.units {
                if unit.disk.handle_event(&event, now) {
                    taken = true;
                    unit.publish();
                }
            }
            if taken {
                continue;
            }
            if let Event::TaskManagementDone { id, result } = event {
                self.function_done(id, result);
                continue;
            }
            let Some((task, end)) = task_end(event) else { continue };
            let Some(job) = self.jobs.remove(task) else { continue };
            job.end(end.map_err(|reason| self.engine.failure(reason)));
        }
        if !self.connecting.is_empty() {
            self.settle_connecting();
        }
        if !self.pings.is_empty() {
            self.settle_pings();
        }
        any
    }

    fn function_done(
        &mut self,
        id: TaskManagementId,
        result: Result<TaskManagementResponseCode, LostReason>,
    ) {
        if let Some((_, reply)) = self.function.take_if(|(waiting, _)| *waiting == id) {
            reply.send(result.map_err(|reason| self.engine.failure(reason)));
        }
    }

    fn settle_connecting(&mut self) {
        let result = match self.engine.session.state() {
            SessionState::LoggedIn => Ok(()),
            SessionState::Failed(reason) => Err(self.engine.failure(reason)),
            SessionState::Closed => Err(Error::ShutDown),
            _ => return,
        };
        if result.is_ok() {
            self.units.iter_mut().for_each(super::DrivenUnit::revive);
        }
        self.connecting.drain(..).for_each(|reply| reply.send(result.clone()));
    }

    fn settle_pings(&mut self) {
        let received = self.engine.connection.counters().pdus_received;
        let lost = match self.engine.session.state() {
            SessionState::LoggedIn | SessionState::LoggingOut => None,
            SessionState::Failed(reason) => Some(self.engine.failure(reason)),
            // The ping went with its connection.
            _ => match self.engine.session.recovery() {
                Some(recovery) => Some(self.engine.failure(recovery.first)),
                None => Some(Error::ShutDown),
            },
        };
        let now = self.engine.now();
        for ping in mem::take(&mut self.pings) {
            if let Some(error) = &lost {
                ping.reply.send(Err(error.clone()));
            } else if received > ping.before {
                ping.reply.send(Ok(now.saturating_since(ping.since)));
            } else {
                self.pings.push(ping);
            }
        }
    }

    /// Takes what has come of the answer to a question for targets. True if more has to be asked for.
    pub(super) fn settle_questions(&mut self) -> bool {
        let Some((collector, reply)) = &mut self.question else { return false };
        if !reply.is_wanted() {
            self.question = None;
            self.engine.connection.leave_discovery();
            return !self.questions.is_empty();
        }
        let end = collector.step(&mut self.engine);
        let goes_on = collector.goes_on();
        if let Some(end) = end
            && let Some((_, reply)) = self.question.take()
        {
            reply.send(end);
            return !self.questions.is_empty();
        }
        goes_on
    }
}
