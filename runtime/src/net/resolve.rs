//! From a host name to addresses, in the order in which they are tried.

use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use iscsi_core::Portal;

/// Finds the addresses of a host name, without blocking the one who asks. For
/// [`Options::resolver`](crate::Options::resolver); addresses never come here.
///
/// ```
/// use core::net::SocketAddr;
/// use iscsi_core::Portal;
/// use iscsi_runtime::{Answer, Resolve};
///
/// /// Knows one host.
/// #[derive(Debug)]
/// struct Table;
///
/// impl Resolve for Table {
///     fn resolve(&self, portal: &Portal, answer: Answer) {
///         let address = SocketAddr::from(([192, 0, 2, 1], portal.port()));
///         answer.give(Ok(vec![address]));
///     }
/// }
/// # let _ = Table;
/// ```
pub trait Resolve: fmt::Debug + Send + Sync {
    /// Begins to look the host of a portal up, and returns at once. The answer may be given now or later, on any thread; dropped, it is
    /// an error.
    fn resolve(&self, portal: &Portal, answer: Answer);
}

/// Asks the system's resolver, on a helper thread for each name: it may block for as long as it likes. Whoever asks for a name that is being
/// looked up waits for the same answer, so that a resolver that hangs costs one thread, however often a session tries.
///
/// ```
/// use iscsi_runtime::{Options, SystemResolver};
/// assert!(format!("{:?}", Options::default().resolver).contains("SystemResolver"));
/// # let _ = SystemResolver;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, portal: &Portal, answer: Answer) {
        static SYSTEM: Lookups = Lookups::new();
        let name = (portal.host().to_owned(), portal.port());
        let look_up = |(host, port): &Name| Ok((host.as_str(), *port).to_socket_addrs()?.collect());
        SYSTEM.begin(name, answer, look_up);
    }
}

type Found = io::Result<Vec<SocketAddr>>;

/// A host and a port.
type Name = (String, u16);

/// Names that are being looked up, each on a thread of its own, and everybody who waits for one.
struct Lookups(Mutex<Vec<(Name, Vec<Answer>)>>);

impl Lookups {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Name, Vec<Answer>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(
        &'static self,
        name: Name,
        answer: Answer,
        look_up: impl FnOnce(&Name) -> Found + Send + 'static,
    ) {
        let mut names = self.lock();
        if let Some((_, waiting)) = names.iter_mut().find(|(other, _)| *other == name) {
            let given_up: Vec<_> = waiting.extract_if(.., |answer| !answer.is_wanted()).collect();
            waiting.push(answer);
            drop(names);
            // Dropped, they wake, and that runs code of others.
            drop(given_up);
            return;
        }
        names.push((name.clone(), vec![answer]));
        drop(names);
        let asked = name.clone();
        let thread = move || self.end(&asked, look_up(&asked));
        if let Err(error) = thread::Builder::new().name("iscsi-resolve".into()).spawn(thread) {
            self.end(&name, Err(error));
        }
    }

    /// Gives everybody who waits for the name its addresses.
    fn end(&self, name: &Name, found: Found) {
        let waiting = {
            let mut names = self.lock();
            let index = names.iter().position(|(other, _)| other == name);
            index.map(|index| names.swap_remove(index).1).unwrap_or_default()
        };
        for answer in waiting {
            answer.give(match &found {
                Ok(addresses) => Ok(addresses.clone()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            });
        }
    }
}

/// Where the addresses of a host name are to be given.
pub struct Answer {
    slot: Arc<Mutex<Option<Found>>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// No code of a user runs under the lock, so a poisoned one is as good as any.
fn lock(slot: &Mutex<Option<Found>>) -> MutexGuard<'_, Option<Found>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answer {
    /// Gives the addresses, in the order of preference, or why there are none.
    pub fn give(self, found: io::Result<Vec<SocketAddr>>) {
        *lock(&self.slot) = Some(found);
        // Dropping it wakes whoever waits.
    }

    /// Whether the one who asked still waits.
    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.slot) > 1
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let gone = || Err(io::Error::other("the resolver gave no answer"));
        lock(&self.slot).get_or_insert_with(gone);
        (self.wake)();
    }
}

/// A name that is being looked up. Dropped, its answer goes nowhere.
#[derive(Debug)]
pub(super) struct Resolving(Arc<Mutex<Option<Found>>>);

impl Resolving {
    pub(super) fn start(
        portal: &Portal,
        resolver: &dyn Resolve,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let slot = Arc::default();
        let resolving = Self(Arc::clone(&slot));
        resolver.resolve(portal, Answer { slot, wake });
        resolving
    }

    pub(super) fn is_done(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// The addresses in the order in which they are tried, once they are known.
    pub(super) fn take(&self) -> Option<Found> {
        let found = lock(&self.0).take()?;
        Some(found.map(|found| alternate(&found)))
    }
}

/// The address of a portal that has one instead of a name; a zone in it is looked up, which takes no resolver.
pub(super) fn literal(portal: &Portal) -> Option<SocketAddr> {
    let host = portal.host();
    let is_address = host.contains(':') || host.parse::<core::net::Ipv4Addr>().is_ok();
    if !is_address {
        return None;
    }
    (host, portal.port()).to_socket_addrs().ok()?.next()
}

/// Keeps the resolver's preference, but alternates the families and drops doubles: a family without a route must not
/// hold up the other one (RFC 8305 section 4).
fn alternate(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let mut preferred = found.iter().filter(|a| a.is_ipv6() == first_is_v6);
    let mut other = found.iter().filter(|a| a.is_ipv6() != first_is_v6);
    let mut order: Vec<SocketAddr> = Vec::with_capacity(found.len());
    loop {
        let pair = [preferred.next(), other.next()];
        if pair == [None, None] {
            return order;
        }
        for address in pair.into_iter().flatten() {
            if !order.contains(address) {
                order.push(*address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate_from_the_first() {
        let found =
            addresses(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::1]:1", "1.1.1.2:1", "1.1.1.3:1"]);
        let order = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "1.1.1.3:1"]);
        assert_eq!(alternate(&found), order);
        assert_eq!(alternate(&[]), []);
    }

    #[test]
    fn addresses_need_no_resolver() {
        let literal = |text| literal(&Portal::parse(text).unwrap());
        assert_eq!(literal("127.0.0.1:7"), Some("127.0.0.1:7".parse().unwrap()));
        assert_eq!(literal("[::1]:7"), Some("[::1]:7".parse().unwrap()));
        assert_eq!(literal("localhost"), None);
    }

    #[test]
    fn a_zone_becomes_a_scope() {
        let address = literal(&Portal::parse("[fe80::1%lo]:7").unwrap());
        assert!(matches!(address, Some(SocketAddr::V6(a)) if a.scope_id() == 1), "{address:?}");
    }

    fn ask(portal: &str, resolver: &dyn Resolve) -> Found {
        let (sender, woken) = std::sync::mpsc::channel();
        let sender = Mutex::new(sender);
        let wake = move || sender.lock().unwrap().send(()).unwrap_or_default();
        let portal = Portal::parse(portal).unwrap();
        let resolving = Resolving::start(&portal, resolver, Box::new(wake));
        woken.recv_timeout(core::time::Duration::from_secs(60)).unwrap();
        resolving.take().unwrap()
    }

    #[test]
    fn a_name_that_cannot_exist_is_an_error() {
        // RFC 6761 section 6.4: no such name resolves, with or without a network.
        ask("no-such-host.invalid", &SystemResolver).unwrap_err();
    }

    #[test]
    fn a_name_is_looked_up() {
        let found = ask("localhost:9", &SystemResolver).unwrap();
        assert!(found.iter().all(|a| a.ip().is_loopback() && a.port() == 9), "{found:?}");
    }

    #[test]
    fn a_name_that_hangs_has_one_thread() {
        use std::sync::mpsc;

        static LOOKUPS: Lookups = Lookups::new();
        let name = || ("host.example".to_owned(), 3260);
        let (hang, hangs) = mpsc::channel::<Found>();
        let (awake, woken) = mpsc::channel();
        let awake = Arc::new(Mutex::new(awake));
        let ask = |name, look_up: Box<dyn FnOnce(&Name) -> Found + Send>| {
            let (slot, awake) = (Arc::default(), awake.clone());
            let resolving = Resolving(Arc::clone(&slot));
            let wake = Box::new(move || awake.lock().unwrap().send(()).unwrap_or_default());
            LOOKUPS.begin(name, Answer { slot, wake }, look_up);
            resolving
        };
        let wait = || woken.recv_timeout(core::time::Duration::from_secs(60)).unwrap();

        let first = ask(name(), Box::new(move |_| hangs.recv().unwrap()));
        // Attempts that give up, and are forgotten.
        for _ in 0..1_000 {
            drop(ask(name(), Box::new(|_| unreachable!("it is being looked up"))));
        }
        assert!(LOOKUPS.lock()[0].1.len() <= 2);
        let last = ask(name(), Box::new(|_| unreachable!("it is being looked up")));
        let other = ask(("other.example".into(), 1), Box::new(|_| Ok(addresses(&["[::1]:1"]))));
        while !other.is_done() {
            wait();
        }
        assert_eq!(other.take().unwrap().unwrap(), addresses(&["[::1]:1"]));
        assert!(!first.is_done() && !last.is_done());
        hang.send(Ok(addresses(&["1.1.1.1:1"]))).unwrap();
        while !first.is_done() || !last.is_done() {
            wait();
        }
        for resolving in [first, last] {
            assert_eq!(resolving.take().unwrap().unwrap(), addresses(&["1.1.1.1:1"]));
        }
        // What comes later is looked up anew.
        let again = ask(name(), Box::new(|_| Err(io::ErrorKind::NotFound.into())));
        while !again.is_done() {
            wait();
        }
        assert_eq!(again.take().unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_answer_that_is_dropped_is_an_error() {
        #[derive(Debug)]
        struct Mute;
        impl Resolve for Mute {
            fn resolve(&self, _: &Portal, _: Answer) {}
        }
        let error = ask("example.com", &Mute).unwrap_err();
        assert_eq!(error.to_string(), "the resolver gave no answer");
    }
}
