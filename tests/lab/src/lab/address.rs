//! Who has which address. The same in every fleet: nothing leaves its namespaces.

use std::net::Ipv4Addr;

/// The Internet box: default route and DNS of every machine.
pub(crate) const INTERNET: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The machine that the product's commands are typed on.
pub(crate) const WORKSTATION: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// Length of the LAN's prefix.
pub(crate) const PREFIX: u8 = 24;
/// The last byte of the first host's address.
const FIRST_HOST: u8 = 11;

/// The address of the fleet's `index`th host, while the LAN has one.
pub(crate) fn host(index: usize) -> Option<Ipv4Addr> {
    let last = u8::try_from(index)
        .ok()?
        .checked_add(FIRST_HOST)
        .filter(|last| *last < 255)?;
    Some(Ipv4Addr::new(192, 168, 1, last))
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
        assert_eq!(host(0), Some(Ipv4Addr::new(192, 168, 1, 11)));
        assert_eq!(host(243), Some(Ipv4Addr::new(192, 168, 1, 254)));
        assert_eq!(host(244), None, "the broadcast address is nobody's");
        assert_eq!(host(1000), None);
    }

    /// Two machines with one hardware address would steal each other's packets.
    #[test]
    fn hardware_addresses_are_local_and_differ() {
        assert_eq!(mac(INTERNET), "02:00:c0:a8:01:01");
        assert_ne!(mac(INTERNET), mac(WORKSTATION));
    }
}
