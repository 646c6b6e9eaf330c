//! Which hosts a caller may name.

use std::net::IpAddr;

use super::plain::LONGEST;
use crate::callers::host::is_allowed;

/// `input` has three lines: the host as the client names it, the address that the client connected to (perhaps none),
/// and the names that are listed, with commas between them.
///
/// # Panics
/// When the verdict is not that of a reader who takes the host apart in another way, or when case or a port changes it.
pub fn host(input: &[u8]) {
    if input.len() > LONGEST {
        return;
    }
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let host = lines.next().unwrap_or_default();
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let local = text().parse::<IpAddr>().ok();
    // What the configuration takes: names, and addresses as they stand in a URL.
    let may_be_listed = |name: &&str| {
        let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !name.is_empty()
            && (inside.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()) || name.chars().all(plain))
    };
    let listed: Vec<String> = text().split(',').filter(may_be_listed).map(str::to_owned).collect();

    let accepted = is_allowed(host, local, &listed);
    let shown = || format!("{:?} at {local:?} with {listed:?}", String::from_utf8_lossy(host));
    assert_eq!(accepted, is_of_this_machine(host, local, &listed), "{}", shown());
    assert_eq!(is_allowed(&host.to_ascii_uppercase(), local, &listed), accepted, "in capitals: {}", shown());
    if !accepted {
        return;
    }
    let without_port = !host.contains(&b':') || host.ends_with(b"]");
    assert!(!without_port || is_allowed(&[host, b":8080"].concat(), local, &listed), "{}", shown());
}

fn is_of_this_machine(host: &[u8], local: Option<IpAddr>, listed: &[String]) -> bool {
    let Ok(host) = String::from_utf8(host.to_vec()) else { return false };
    let host = host.to_ascii_lowercase();
    // "Every address" is none of this machine's.
    let local = local.filter(|local| !["0.0.0.0", "::"].contains(&&*local.to_string()));
    // From the end: digits after a colon are a port, unless the colon is one of an address.
    let digits = host.chars().rev().take_while(char::is_ascii_digit).count();
    let (before, port) = host.split_at(host.len() - digits);
    let name = match before.strip_suffix(':') {
        Some(name) if !name.contains(':') || name.ends_with(']') => {
            if port.is_empty() || port.trim_start_matches('0').len() > 5 {
                return false;
            }
            if port.trim_start_matches('0').parse::<u32>().unwrap_or(0) > 65535 {
                return false;
            }
            name
        }
        _ => &host,
    };
    if name.is_empty() {
        return false;
    }
    if listed.iter().any(|one| one.to_ascii_lowercase() == name) {
        return true;
    }
    if let Some(inside) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let Ok(IpAddr::V6(address)) = inside.parse() else { return false };
        let is_one = address.octets().iter().rev().eq([1].iter().chain([0; 15].iter()));
        return is_one || Some(IpAddr::V6(address)) == local;
    }
    let numbers: Vec<Option<u32>> = name.split('.').map(number).collect();
    if let [Some(first), Some(_), Some(_), Some(_)] = numbers[..] {
        return first == 127 || local.is_some_and(|local| local.to_string() == name);
    }
    let mut labels: Vec<&str> = name.split('.').collect();
    let good = |label: &&str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    };
    labels.pop() == Some("localhost") && labels.iter().all(good)
}

/// One part of an address in dotted decimal: no zero before other digits, not above 255.
fn number(text: &str) -> Option<u32> {
    let digits = (1..=3).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
    let number = digits.then(|| text.parse::<u32>().ok()).flatten()?;
    (number < 256 && number.to_string() == text).then_some(number)
}
