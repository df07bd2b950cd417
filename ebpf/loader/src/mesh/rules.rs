//! Rules of playbooks in the form that the programs read.

use super::{
    config::{FILTER_RULES_MAX, PeerAction, PeerId, PeerRule, PrefixAction, PrefixRule},
    error::FilterError,
};
use std::{collections::BTreeMap, net::IpAddr};
use x0_ebpf_shared::{PREFIX_DENY, PREFIX_FAVOUR, PeerKey, RULE_DENY, RULE_LIMIT, RULE_QUARANTINE, RuleEntry};

/// Least rate of a limit, bytes per second.
const RATE_MIN: u64 = 1_000;
/// Least burst of a limit, bytes: one super-packet.
const BURST_MIN: u64 = 65_536;
/// Largest rate and burst: 1 Tbit/s, beyond which the cost of a byte is zero.
const LIMIT_MAX: u64 = 125_000_000_000;
/// The action that is none, for the map's entry that keeps rules on IPv6 away from IPv4.
const PREFIX_NONE: u32 = 0;
const NS_PER_S: u128 = 1_000_000_000;

/// A prefix as the map's key: its length counted on the mapped form, and the address with zeros
/// behind the prefix.
pub(super) type PrefixKey = (u32, [u8; 16]);

/// The rules on each peer, added up.
pub(super) fn peers(rules: &[PeerRule]) -> Result<BTreeMap<PeerId, RuleEntry>, FilterError> {
    count(rules.len())?;
    let mut limits = BTreeMap::<PeerId, (u64, u64)>::new();
    let mut entries = BTreeMap::<PeerId, RuleEntry>::new();
    for rule in rules {
        let entry = entries.entry(rule.peer).or_default();
        match rule.action {
            PeerAction::Deny => entry.actions |= RULE_DENY,
            PeerAction::Quarantine => entry.actions |= RULE_QUARANTINE,
            PeerAction::RateLimit { bytes_per_s, burst_bytes } => {
                if bytes_per_s < RATE_MIN || burst_bytes < BURST_MIN {
                    return Err(FilterError::Limit { bytes_per_s, burst_bytes });
                }
                let limit = limits.entry(rule.peer).or_insert((LIMIT_MAX, LIMIT_MAX));
                *limit = (limit.0.min(bytes_per_s), limit.1.min(burst_bytes));
                entry.actions |= RULE_LIMIT;
            }
        }
    }
    for (peer, (bytes_per_s, burst_bytes)) in limits {
        if let Some(entry) = entries.get_mut(&peer) {
            entry.byte_cost_q10 = quotient(NS_PER_S << 10, bytes_per_s);
            entry.window_ns = quotient(NS_PER_S * u128::from(burst_bytes), bytes_per_s);
        }
    }
    Ok(entries)
}

/// The rules on prefixes; a later rule on the same prefix replaces an earlier one, except that denial
/// stays.
pub(super) fn prefixes(rules: &[PrefixRule]) -> Result<BTreeMap<PrefixKey, u32>, FilterError> {
    count(rules.len())?;
    let mut entries = BTreeMap::new();
    for rule in rules {
        let action = match rule.action {
            PrefixAction::Deny => PREFIX_DENY,
            PrefixAction::Favour => PREFIX_FAVOUR,
        };
        let entry = entries.entry(prefix(rule.address, rule.bits)?).or_insert(action);
        *entry = (*entry).min(action);
    }
    // IPv4 senders appear below ::ffff:0:0/96, but a rule on ::/0 means IPv6.
    let v4 = (96, PeerKey::from_v4([0; 4]).address);
    entries.entry(v4).or_insert(PREFIX_NONE);
    if entries.len() == 1 && entries.get(&v4) == Some(&PREFIX_NONE) {
        entries.clear();
    }
    Ok(entries)
}

fn count(count: usize) -> Result<(), FilterError> {
    if count > FILTER_RULES_MAX {
        return Err(FilterError::TooManyRules { count, max: FILTER_RULES_MAX });
    }
    Ok(())
}

fn prefix(address: IpAddr, bits: u8) -> Result<PrefixKey, FilterError> {
    let (address, mapped, max) = match address {
        IpAddr::V4(v4) => (PeerKey::from_v4(v4.octets()).address, 96, 32),
        IpAddr::V6(v6) => (v6.octets(), 0, 128),
    };
    if bits > max {
        return Err(FilterError::PrefixLength { bits, max });
    }
    let length = mapped + u32::from(bits);
    let mask = if length == 0 { 0 } else { u128::MAX << (128 - length) };
    Ok((length, (u128::from_be_bytes(address) & mask).to_be_bytes()))
}

/// A quotient that fits, the largest number otherwise.
fn quotient(dividend: u128, divisor: u64) -> u64 {
    u64::try_from(dividend / u128::from(divisor.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_ebpf_shared::rate;

    fn limit(bytes_per_s: u64, burst_bytes: u64) -> PeerRule {
        PeerRule { peer: [1; 32], action: PeerAction::RateLimit { bytes_per_s, burst_bytes } }
    }

    #[test]
    fn several_rules_on_a_peer_add_up_to_the_strictest() {
        let rules = [
            limit(1_000_000, 65_536),
            limit(125_000, 1_000_000),
            PeerRule { peer: [1; 32], action: PeerAction::Quarantine },
            PeerRule { peer: [2; 32], action: PeerAction::Deny },
        ];
        let entries = peers(&rules).unwrap();
        let first = entries[&[1; 32]];
        assert_eq!(first.actions, RULE_LIMIT | RULE_QUARANTINE);
        // 125 kB/s is 8 µs for a byte, and 65,536 bytes of burst are 524 ms of it.
        assert_eq!(rate::bytes_cost_ns(1, first.byte_cost_q10), 8_000);
        assert_eq!(first.window_ns, 524_288_000);
        assert_eq!(entries[&[2; 32]].actions, RULE_DENY);
    }

    #[test]
    fn limits_that_no_super_packet_passes_are_refused() {
        for rule in [limit(999, 1 << 20), limit(1_000, 65_535)] {
            assert!(matches!(peers(&[rule]), Err(FilterError::Limit { .. })));
        }
        assert!(matches!(
            peers(&vec![limit(1_000, 65_536); 1_025]),
            Err(FilterError::TooManyRules { count: 1_025, .. })
        ));
    }

    #[test]
    fn prefixes_are_masked_mapped_and_bounded() {
        let rule = |address: &str, bits, action| PrefixRule { address: address.parse().unwrap(), bits, action };
        let entries = prefixes(&[
            rule("10.1.2.3", 16, PrefixAction::Deny),
            rule("10.1.9.9", 16, PrefixAction::Favour),
            rule("2001:db8::1", 32, PrefixAction::Favour),
            rule("::", 0, PrefixAction::Deny),
        ])
        .unwrap();
        assert_eq!(entries[&(112, PeerKey::from_v4([10, 1, 0, 0]).address)], PREFIX_DENY);
        let v6: std::net::Ipv6Addr = "2001:db8::".parse().unwrap();
        assert_eq!(entries[&(32, v6.octets())], PREFIX_FAVOUR);
        assert_eq!(entries[&(0, [0; 16])], PREFIX_DENY);
        assert_eq!(entries[&(96, PeerKey::from_v4([0; 4]).address)], PREFIX_NONE, "IPv4 is not below ::/0");
        assert!(prefixes(&[]).unwrap().is_empty());
        assert!(matches!(
            prefixes(&[rule("10.0.0.0", 33, PrefixAction::Deny)]),
            Err(FilterError::PrefixLength { bits: 33, max: 32 })
        ));
    }
}
