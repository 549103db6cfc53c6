//! Networks in CIDR notation.

use std::fmt;
use std::net::IpAddr;

/// A network: an address and how many of its leading bits count. A bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: u128,
    mask: u128,
    v6: bool,
}

/// Text that is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCidr(String);

// === impl Cidr ===

impl Cidr {
    /// Reads `10.0.0.0/8`, `fd00::/8` or a bare address; bits beyond the prefix are not looked at.
    pub fn parse(text: &str) -> Result<Cidr, InvalidCidr> {
        let invalid = || InvalidCidr(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let (bits, width, v6) = widen(address);
        let length = match length {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| invalid())?
            }
            Some(_) => return Err(invalid()),
            None => width,
        };
        if length > width {
            return Err(invalid());
        }
        let mask = match width - length {
            128 => 0,
            host_bits => u128::MAX << host_bits,
        };
        Ok(Cidr {
            network: bits & mask,
            mask,
            v6,
        })
    }

    /// Whether an address lies in it. An IPv4 address mapped into IPv6 is taken as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, _, v6) = widen(address.to_canonical());
        v6 == self.v6 && bits & self.mask == self.network
    }
}

fn widen(address: IpAddr) -> (u128, u32, bool) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32, false),
        IpAddr::V6(v6) => (u128::from(v6), 128, true),
    }
}

// === impl InvalidCidr ===

impl fmt::Display for InvalidCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no network: expected an address with a prefix length, such as 10.0.0.0/8 or fd00::/8",
            self.0
        )
    }
}

impl std::error::Error for InvalidCidr {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3/16", "10.1.9.9", "10.2.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("::1", "::1", "::2"),
        ] {
            let cidr = Cidr::parse(network).expect("a network");
            assert!(
                cidr.contains(inside.parse().expect("an address")),
                "{network} {inside}"
            );
            assert!(
                !cidr.contains(outside.parse().expect("an address")),
                "{network} {outside}"
            );
        }
    }

    #[test]
    fn the_network_of_length_0_holds_its_own_family_only() {
        let everything = Cidr::parse("0.0.0.0/0").expect("a network");
        assert!(everything.contains("203.0.113.9".parse().expect("an address")));
        assert!(everything.contains("::ffff:203.0.113.9".parse().expect("an address")));
        assert!(!everything.contains("::1".parse().expect("an address")));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "example.com",
        ] {
            assert!(Cidr::parse(text).is_err(), "{text}");
        }
    }
}
