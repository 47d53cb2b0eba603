//! Where a client connects from, as its broker tells.

use std::net::{IpAddr, Ipv6Addr};

/// A client's network address: one of IPv4, or the first half of one of IPv6, of which one machine may choose the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer(IpAddr);

impl Peer {
    /// `None` where the text is no address, and for loopback: there a proxy or a bridge stands for many clients.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let address = text.parse::<IpAddr>().ok()?.to_canonical();
        if address.is_loopback() || address.is_unspecified() {
            return None;
        }
        Some(Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_folded_and_half_of_an_ipv6_address_counts() {
        assert_eq!(Peer::of("::ffff:192.0.2.1"), Peer::of("192.0.2.1"));
        assert_eq!(Peer::of("2001:db8::1"), Peer::of("2001:db8::ffff:2"));
        assert_ne!(Peer::of("2001:db8::1"), Peer::of("2001:db8:0:1::1"));
        for none in ["", "undefined", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "192.0.2.1:1883"]
        {
            assert_eq!(Peer::of(none), None, "{none}");
        }
    }
}
