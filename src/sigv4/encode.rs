//! The one percent-encoding that SigV4 knows: everything but `A-Z a-z 0-9 - _ . ~`, upper-case hexadecimal.
//!
//! Source: "UriEncode()" in AWS's "Create a signed AWS API request"; RFC 3986 section 2.3 names the same set.

/// RFC 3986 unreserved.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    UNRESERVED[byte as usize]
}

/// A table, since each byte of each target is asked about more than once.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let ascii = byte as u8;
        table[byte] = ascii.is_ascii_alphanumeric() || matches!(ascii, b'-' | b'_' | b'.' | b'~');
        byte += 1;
    }
    table
};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

pub(super) fn push_encoded(out: &mut String, byte: u8) {
    out.push('%');
    out.push(HEX[usize::from(byte >> 4)] as char);
    out.push(HEX[usize::from(byte & 15)] as char);
}

/// Appends `bytes`, each one that is not unreserved as `%XX`.
pub fn encode_into(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if is_unreserved(byte) {
            out.push(byte as char);
        } else {
            push_encoded(out, byte);
        }
    }
}

const fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The byte that a text starting with `%` stands for; `None` where no two hexadecimal digits follow.
pub(crate) fn percent_byte(text: &[u8]) -> Option<u8> {
    match text {
        [b'%', high, low, ..] => Some(hex_value(*high)? << 4 | hex_value(*low)?),
        _ => None,
    }
}
