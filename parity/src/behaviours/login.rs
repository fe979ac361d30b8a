//! Ways to log in, and not to.

use std::net::TcpListener;
use std::time::Instant;

use iscsi_core::config::Timeouts;
use iscsi_core::{Config, DiscoveryScope, IscsiName, Portal, SessionState, Timer};
use iscsi_runtime::{Error, LoginFailure};

use super::{SECOND, TARGET_USER, USER, chap as credentials, config, host, open, open_at, pattern};
use crate::{BYTES, Path, Runtime, Served};

/// It holds what it was given.
fn check(path: &mut dyn Path) {
    assert_eq!(path.capacity(), BYTES);
    let data = pattern(10_000, 3);
    path.write(512, &data).expect("a write");
    assert!(path.read(512, data.len()).expect("a read") == data);
    assert_eq!(path.standing().state, SessionState::LoggedIn);
}

fn refusal(result: Result<Box<dyn Path>, Error>) -> Error {
    match result {
        Ok(_) => panic!("it was let in"),
        Err(error) => error,
    }
}

pub(super) fn everywhere(runtime: &dyn Runtime, served: &Served) {
    let by_name = Portal::new("localhost", served.address.port()).expect("a portal");
    for portal in [served.address.into(), served.address_v6.into(), by_name] {
        let mut path = open_at(runtime, portal, served, config(served)).expect("a login");
        check(&mut *path);
        path.shut_down().expect("a logout");
    }
}

pub(super) fn chap(runtime: &dyn Runtime, served: &Served) {
    check(&mut *open(runtime, served, config(served).chap(credentials(USER))));
}

pub(super) fn mutual_chap(runtime: &dyn Runtime, served: &Served) {
    let (user, secret) = TARGET_USER;
    let secret = iscsi_core::auth::Secret::new(secret).expect("a secret");
    let chap = credentials(USER).with_mutual(Some(user), secret).expect("credentials");
    check(&mut *open(runtime, served, config(served).chap(chap)));
}

pub(super) fn digests(runtime: &dyn Runtime, served: &Served) {
    use iscsi_core::text::Digests;
    let config = config(served).header_digest(Digests::CRC32C).data_digest(Digests::CRC32C);
    let mut path = open(runtime, served, config);
    check(&mut *path);
    assert_eq!(path.standing().digests, [true, true]);
}

pub(super) fn wrong_secret(runtime: &dyn Runtime, served: &Served) {
    for user in [(USER.0, "secret-of-nobody"), ("nobody", USER.1)] {
        let config = config(served).chap(credentials(user));
        let error = refusal(open_at(runtime, served.address.into(), served, config));
        let refused = matches!(error, Error::Login(LoginFailure::CredentialsRefused(_)));
        assert!(refused, "{error}");
    }
    let error = refusal(open_at(runtime, served.address.into(), served, config(served)));
    assert!(matches!(error, Error::Login(_)), "{error}");
}

pub(super) fn wrong_target(runtime: &dyn Runtime, served: &Served) {
    let secret = iscsi_core::auth::Secret::new("secret-of-nobody").expect("a secret");
    let chap = credentials(USER).with_mutual(Some(TARGET_USER.0), secret).expect("credentials");
    let config = config(served).chap(chap);
    let error = refusal(open_at(runtime, served.address.into(), served, config));
    assert!(matches!(error, Error::Login(LoginFailure::TargetSecret(_))), "{error}");
}

pub(super) fn no_such_target(runtime: &dyn Runtime, served: &Served) {
    let name = IscsiName::new("iqn.2001-04.com.example:nobody").expect("a name");
    let other = Served { name, ..served.clone() };
    let error = refusal(open_at(runtime, served.address.into(), &other, config(&other)));
    assert!(matches!(error, Error::Login(LoginFailure::NoSuchTarget(_))), "{error}");
}

pub(super) fn nobody_listens(runtime: &dyn Runtime, served: &Served) {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let start = Instant::now();
    let error = refusal(open_at(runtime, closed.into(), served, config(served)));
    assert!(start.elapsed() < 2 * SECOND);
    assert!(matches!(error, Error::Connect(_)), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

pub(super) fn silent_target(runtime: &dyn Runtime, served: &Served) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let timeouts = Timeouts { login: SECOND / 2, ..Timeouts::DEFAULT };
    let start = Instant::now();
    let address = listener.local_addr().expect("an address");
    let config = config(served).timeouts(timeouts);
    let error = refusal(open_at(runtime, address.into(), served, config));
    let took = start.elapsed();
    assert!(took >= SECOND / 2 && took < 4 * SECOND, "{took:?}");
    assert_eq!(error.timer(), Some(Timer::Login), "{error}");
}

pub(super) fn discovery(runtime: &dyn Runtime, served: &Served) {
    let config = Config::discovery(host()).build().expect("a configuration");
    let portal: Portal = served.address.into();
    let found = runtime.discover(config, portal, DiscoveryScope::All).expect("an answer");
    let target = found.targets.iter().find(|target| target.name == served.name);
    let target = target.expect("the target is among them");
    assert!(
        target.portals.iter().any(|known| known.portal.port() == served.address.port()),
        "{target:?}"
    );
}
