//! What every runtime does alike.

mod cancellation;
mod io;
mod login;
mod recovery;
mod waiting;

use core::time::Duration;

use iscsi_core::auth::{Chap, Secret};
use iscsi_core::config::{ConfigBuilder, Recovery, Retry, Timeouts};
use iscsi_core::{Config, IscsiName};
use iscsi_runtime::{Error, Options};

use crate::{Path, Runtime, Served, Setup};

/// One behaviour.
///
/// ```
/// let names: Vec<_> = iscsi_parity::BEHAVIOURS.iter().map(|behaviour| behaviour.name).collect();
/// assert!(names.contains(&"odd_offsets"));
/// ```
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// Its name in the names of tests.
    pub name: &'static str,
    /// What is seen.
    pub about: &'static str,
    /// The target that it needs.
    pub setup: Setup,
    /// Panics if the runtime behaves otherwise.
    pub run: fn(&dyn Runtime, &Served),
}

impl core::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.name, self.about)
    }
}

const fn behaviour(
    name: &'static str,
    about: &'static str,
    setup: Setup,
    run: fn(&dyn Runtime, &Served),
) -> Behaviour {
    Behaviour { name, about, setup, run }
}

const PLAIN: Setup = Setup { chap: None, mutual: None, digests: false, solicited: false };
const USER: (&str, &str) = ("alice", "secret-of-alice");
const TARGET_USER: (&str, &str) = ("disk", "secret-of-the-disk");
const CHAP: Setup = Setup { chap: Some(USER), ..PLAIN };
const MUTUAL: Setup = Setup { mutual: Some(TARGET_USER), ..CHAP };
const DIGESTS: Setup = Setup { digests: true, ..PLAIN };
const SOLICITED: Setup = Setup { solicited: true, ..PLAIN };

/// All behaviours.
pub const BEHAVIOURS: &[Behaviour] = &[
    behaviour("login", "a login over IPv4, IPv6 and by name", PLAIN, login::everywhere),
    behaviour("login_chap", "a login with CHAP, one way", CHAP, login::chap),
    behaviour("login_mutual_chap", "a login with CHAP both ways", MUTUAL, login::mutual_chap),
    behaviour("login_digests", "data under header and data digests", DIGESTS, login::digests),
    behaviour("wrong_secret", "a wrong secret is refused as such", CHAP, login::wrong_secret),
    behaviour("wrong_target", "a target that cannot prove itself", MUTUAL, login::wrong_target),
    behaviour("no_such_target", "a name that nobody has", PLAIN, login::no_such_target),
    behaviour("nobody_listens", "a closed port, at once", PLAIN, login::nobody_listens),
    behaviour("silent_target", "no answer to the login, in time", PLAIN, login::silent_target),
    behaviour("discovery", "the targets of a portal", PLAIN, login::discovery),
    behaviour("odd_offsets", "bytes at any offset, of any length", PLAIN, io::odd_offsets),
    behaviour("solicited", "data that the target asks for in pieces", SOLICITED, io::odd_offsets),
    behaviour("queue", "300 requests at depth 32, and at depth 8", PLAIN, io::queue),
    behaviour("large", "the whole disk in large reads at once", PLAIN, waiting::large),
    behaviour("large_digests", "the same under digests", DIGESTS, waiting::large),
    behaviour("pings", "pings between large answers, at once", PLAIN, waiting::pings),
    behaviour("range_errors", "beyond the end, with the memory back", PLAIN, io::range_errors),
    behaviour("short_memory", "memory that is too short, back", PLAIN, io::short_memory),
    behaviour("commands", "SCSI commands, good and refused", PLAIN, io::commands),
    behaviour("flush_and_ping", "a flush and a sign of life", PLAIN, io::flush_and_ping),
    behaviour("cuts", "a connection that is cut again and again", PLAIN, recovery::cuts),
    behaviour("flips", "bits that flip, under digests", DIGESTS, recovery::flips),
    behaviour("forced", "ten forced reconnects, then data", PLAIN, recovery::forced),
    behaviour("away", "requests while the target is away", PLAIN, recovery::away),
    behaviour("given_up", "a target that never comes back, in time", PLAIN, recovery::given_up),
    behaviour("no_policy", "a loss without a policy, and a new login", PLAIN, recovery::no_policy),
    behaviour("abandoned", "requests that nobody waits for", PLAIN, cancellation::abandoned),
    behaviour("left", "a shutdown with requests under way", PLAIN, cancellation::left),
    behaviour("dropped", "all dropped with requests under way", PLAIN, cancellation::dropped),
];

const SECOND: Duration = Duration::from_secs(1);

fn host() -> IscsiName {
    IscsiName::new("iqn.2001-04.com.example:parity").expect("a name")
}

/// The settings of all, with short times.
fn config(served: &Served) -> ConfigBuilder {
    let timeouts = Timeouts { connect: 2 * SECOND, login: 2 * SECOND, ..Timeouts::DEFAULT };
    Config::normal(host(), served.name.clone()).timeouts(timeouts).default_time2wait(0)
}

/// It comes back, with short delays.
fn recovery(retry: Retry) -> Recovery {
    Recovery {
        retry,
        first_delay: Duration::from_millis(20),
        longest_delay: Duration::from_millis(100),
        ..Recovery::FOREVER
    }
}

fn chap((user, secret): (&str, &str)) -> Chap {
    Chap::new(user, Secret::new(secret).expect("a secret")).expect("a user")
}

fn open(runtime: &dyn Runtime, served: &Served, config: ConfigBuilder) -> Box<dyn Path> {
    open_at(runtime, served.address.into(), served, config).expect("a login")
}

fn open_at(
    runtime: &dyn Runtime,
    portal: iscsi_core::Portal,
    served: &Served,
    config: ConfigBuilder,
) -> Result<Box<dyn Path>, Error> {
    let config = config.build().expect("a configuration");
    runtime.open(config, portal, served.lun, &Options::default())
}

/// Bytes that tell their place.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251 + seed * 31) as u8).collect()
}

/// Numbers that look random, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}
