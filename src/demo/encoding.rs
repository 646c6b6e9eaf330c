//! The spellings that signatures are made of: strict percent encoding, hexadecimal, Base64.

const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const LOWER: &[u8; 16] = b"0123456789abcdef";

/// Appends `bytes` as RFC 3986 section 2.1 encodes them: all but `A-Z a-z 0-9 - _ . ~` as `%XX` in upper case.
pub fn percent_encode_into(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(UPPER[usize::from(byte >> 4)]));
            out.push(char::from(UPPER[usize::from(byte & 15)]));
        }
    }
}

/// Decodes one name or value of a query: `+` is a space, `%XX` a byte, a `%` without two digits stays itself.
#[must_use]
pub fn query_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            out.push(high << 4 | low);
            rest = &after[2..];
        } else {
            out.push(if byte == b'+' { b' ' } else { byte });
            rest = after;
        }
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(LOWER[usize::from(byte >> 4)]));
        out.push(char::from(LOWER[usize::from(byte & 15)]));
    }
    out
}

/// Reads lower-case hexadecimal. AWS compares signatures as text, so upper case is not accepted.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Base64 with padding, RFC 4648 section 4.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                let index = group >> (18 - 6 * place) & 63;
                out.push(char::from(ALPHABET[index as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{base64, hex, percent_encode_into, query_decode, unhex};

    #[test]
    fn base64_pads_as_rfc_4648_section_10_shows() {
        let shown = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in shown {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn hexadecimal_is_lower_case_both_ways() {
        assert_eq!(hex(&[0, 0x9f, 0xff]), "009fff");
        assert_eq!(unhex("009fff"), Some(vec![0, 0x9f, 0xff]));
        for wrong in ["9F", "abc", "zz", "é"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_query_is_decoded_as_a_form() {
        assert_eq!(query_decode(b"a+b%2B%2fc%zz%4"), b"a b+/c%zz%4");
    }

    #[test]
    fn only_unreserved_characters_stay_bare() {
        let mut out = String::new();
        percent_encode_into(&mut out, "aZ0-_.~ +/é".as_bytes());
        assert_eq!(out, "aZ0-_.~%20%2B%2F%C3%A9");
    }
}
