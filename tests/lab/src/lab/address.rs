//! Who has which address. The same in every fleet: nothing leaves its namespaces.

use std::net::Ipv4Addr;

/// The Internet box: default route and DNS of every machine.
pub(crate) const INTERNET: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The machine that the product's commands are typed on.
pub(crate) const WORKSTATION: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// Length of every network's prefix.
pub(crate) const PREFIX: u8 = 24;
/// The last byte of the LAN's first host's address.
const FIRST_HOST: u8 = 11;

/// A network that machines are plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Everybody's.
    Lan,
    /// The one behind the fleet's so-many-th gateway host.
    Behind(u8),
}

impl Segment {
    /// The network that an address belongs to.
    pub(crate) fn of(address: Ipv4Addr) -> Self {
        match address.octets() {
            [10, 20, number, _] => Self::Behind(number),
            _ => Self::Lan,
        }
    }

    /// The default route of its machines.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        match self {
            Self::Lan => INTERNET,
            Self::Behind(number) => Ipv4Addr::new(10, 20, number, 1),
        }
    }

    /// The address of its `index`th host, while there is one.
    pub(crate) fn host(self, index: usize) -> Option<Ipv4Addr> {
        let (first, [a, b, c, _]) = match self {
            Self::Lan => (FIRST_HOST, INTERNET.octets()),
            Self::Behind(_) => (2, self.gateway().octets()),
        };
        let last = u8::try_from(index)
            .ok()?
            .checked_add(first)
            .filter(|last| *last < 255)?;
        Some(Ipv4Addr::new(a, b, c, last))
    }
}

/// The hardware address that goes with an address: fixed, so that a machine made
/// again is not missed for a minute by neighbours that remember the old one.
pub(crate) fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The README promises these addresses to the lab's other parts.
    #[test]
    fn hosts_follow_the_workstation() {
        let lan = Segment::Lan;
        assert_eq!(lan.host(0), Some(Ipv4Addr::new(192, 168, 1, 11)));
        assert_eq!(lan.host(243), Some(Ipv4Addr::new(192, 168, 1, 254)));
        assert_eq!(lan.host(244), None, "the broadcast address is nobody's");
        assert_eq!(lan.host(1000), None);
        let inner = Segment::Behind(3);
        assert_eq!(inner.gateway(), Ipv4Addr::new(10, 20, 3, 1));
        assert_eq!(inner.host(0), Some(Ipv4Addr::new(10, 20, 3, 2)));
    }

    /// Cables and gateways go by the address alone.
    #[test]
    fn an_address_tells_its_network() {
        for segment in [Segment::Lan, Segment::Behind(0), Segment::Behind(7)] {
            assert_eq!(Segment::of(segment.gateway()), segment);
            assert_eq!(segment.host(0).map(Segment::of), Some(segment));
        }
    }

    /// Two machines with one hardware address would steal each other's packets.
    #[test]
    fn hardware_addresses_are_local_and_differ() {
        assert_eq!(mac(INTERNET), "02:00:c0:a8:01:01");
        assert_ne!(mac(INTERNET), mac(WORKSTATION));
    }
}
