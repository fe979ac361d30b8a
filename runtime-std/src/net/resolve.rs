//! From a host name to addresses, in the order in which they are tried.

use core::net::SocketAddr;
use std::io;
use std::net::ToSocketAddrs as _;

use iscsi_core::Portal;

/// All addresses of a portal. Blocks for as long as the system's resolver likes.
pub(super) fn resolve(portal: &Portal) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = (portal.host(), portal.port()).to_socket_addrs()?.collect();
    Ok(alternate(&found))
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
        let v4 = resolve(&Portal::parse("127.0.0.1:7").unwrap()).unwrap();
        assert_eq!(v4, addresses(&["127.0.0.1:7"]));
        let v6 = resolve(&Portal::parse("[::1]:7").unwrap()).unwrap();
        assert_eq!(v6, addresses(&["[::1]:7"]));
    }

    #[test]
    fn a_zone_becomes_a_scope() {
        let address = resolve(&Portal::parse("[fe80::1%lo]:7").unwrap()).unwrap();
        assert!(matches!(address[..], [SocketAddr::V6(a)] if a.scope_id() == 1), "{address:?}");
    }

    #[test]
    fn a_name_that_cannot_exist_is_an_error() {
        // RFC 6761 section 6.4: no such name resolves, with or without a network.
        resolve(&Portal::parse("no-such-host.invalid").unwrap()).unwrap_err();
    }
}
