//! The ways in which servers read one path.
//!
//! API Gateway decodes each segment once; what stands behind it may do more. A path can be read in several ways when
//!
//! 1. it has an encoded slash (`%2F`), or a back slash: part of a segment, or the end of one;
//! 2. it has a `;`: part of a segment, or the start of parameters that do not count (RFC 3986 section 3.3);
//! 3. it has escapes within escapes (`%2561`): decoded once, or twice.
//!
//! A rule that forbids must hold in the worst of these readings, and one that allows in each of them: see `rules.rs`.
//! Nobody can tell how a path is read that is encoded more than twice, has a control character, or is not UTF-8 once
//! decoded (as `%C0%AF` is not, which some read as a slash).

use super::target::decode;

/// Longer than API Gateway takes; beyond it not every reading is tried.
const LONGEST: usize = 10_240;

/// One way to read a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// Decoded; none is empty.
    segments: Vec<Vec<u8>>,
    /// Whether an empty segment stood at the end: `/a/` beside `/a`.
    pub(super) open: bool,
}

impl Reading {
    pub(super) fn segments(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.segments.iter().map(Vec::as_slice)
    }

    pub(super) fn map_bytes(&mut self, replace: impl Fn(u8) -> u8) {
        self.segments.iter_mut().flatten().for_each(|byte| *byte = replace(*byte));
    }
}

/// Whether every server reads a path in the same way: by its slashes.
pub(super) fn is_plain(path: &str) -> bool {
    memchr::memchr3(b'%', b';', b'\\', path.as_bytes()).is_none()
}

/// The segments of a plain path, and whether an empty one stands at the end: its only [`Reading`], without a copy.
pub(super) fn plain(path: &[u8]) -> (impl Iterator<Item = &[u8]> + Clone, bool) {
    let segments = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
    (segments, path.last().is_none_or(|byte| *byte == b'/'))
}

/// Every reading of a path, API Gateway's first; `None` when nobody can tell them.
pub(super) fn readings(path: &str) -> Option<Vec<Reading>> {
    if is_plain(path) {
        let path = path.as_bytes();
        return Some(vec![Way { split: 0, strip: 0, depth: 1, back_slash: false }.read(path)]);
    }
    let path = path.as_bytes();
    let once = decode(path);
    let twice = decode(&once);
    let is_clear = path.len() <= LONGEST
        && decode(&twice) == twice
        && !twice.iter().any(u8::is_ascii_control)
        && [&once, &twice].into_iter().all(|text| std::str::from_utf8(text).is_ok());
    if !is_clear {
        return None;
    }
    let levels = if twice == once { 1 } else { 2 };
    // Bits say after which rounds of decoding parameters go.
    let strips = if twice.contains(&b';') { 1 << (levels + 1) } else { 1 };
    let slashes = if twice.contains(&b'\\') { &[false, true][..] } else { &[false] };
    let mut all: Vec<Reading> = Vec::new();
    for split in 0..=levels {
        for strip in 0..strips {
            for depth in 1..=levels {
                for &back_slash in slashes {
                    let last = u32::BITS - 1 - u32::leading_zeros(strip | 1);
                    if depth < split || depth < last {
                        continue;
                    }
                    let reading = Way { split, strip, depth, back_slash }.read(path);
                    if !all.contains(&reading) {
                        all.push(reading);
                    }
                }
            }
        }
    }
    Some(all)
}

/// What one server does, in rounds of decoding.
struct Way {
    /// After how many rounds it splits the path.
    split: u32,
    /// After which rounds parameters go, a bit each.
    strip: u32,
    /// How many rounds there are.
    depth: u32,
    /// Whether a back slash is a slash.
    back_slash: bool,
}

impl Way {
    fn read(&self, path: &[u8]) -> Reading {
        let mut text = path.to_vec();
        for round in 0..=self.split {
            if round > 0 {
                text = decode(&text);
            }
            if self.strips(round) {
                text = self.without_parameters(&text);
            }
        }
        let mut segments: Vec<_> = text
            .split(|byte| self.is_slash(*byte))
            .map(|segment| {
                let mut segment = segment.to_vec();
                for round in self.split + 1..=self.depth {
                    segment = decode(&segment);
                    if self.strips(round) {
                        segment
                            .truncate(segment.iter().position(|byte| *byte == b';').unwrap_or(segment.len()));
                    }
                }
                segment
            })
            .collect();
        let open = segments.last().is_some_and(Vec::is_empty);
        segments.retain(|segment| !segment.is_empty());
        Reading { segments, open }
    }

    const fn strips(&self, round: u32) -> bool {
        self.strip >> round & 1 == 1
    }

    const fn is_slash(&self, byte: u8) -> bool {
        byte == b'/' || (byte == b'\\' && self.back_slash)
    }

    fn without_parameters(&self, text: &[u8]) -> Vec<u8> {
        let mut inside = false;
        let kept = text.iter().copied().filter(|&byte| {
            inside = (inside || byte == b';') && !self.is_slash(byte);
            !inside
        });
        kept.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::readings;

    /// `/a/b`, with `¦` for a slash within a segment and `/` at the end for an open one.
    fn shown(path: &str) -> Option<Vec<String>> {
        let shown = readings(path)?.into_iter().map(|reading| {
            let segments: String = reading
                .segments()
                .map(|segment| format!("/{}", String::from_utf8_lossy(segment).replace('/', "¦")))
                .collect();
            format!("{segments}{}", if reading.open { "/" } else { "" })
        });
        Some(shown.collect())
    }

    #[test]
    fn every_reading() {
        for (path, expected) in [
            ("", &["/"][..]),
            ("/", &["/"]),
            ("/a/b", &["/a/b"]),
            ("//a///b/", &["/a/b/"]),
            ("/%61%20b", &["/a b"]),
            ("/100%25", &["/100%"]),
            ("/a%zz", &["/a%zz"]),
            ("/a%2Fb", &["/a¦b", "/a/b"]),
            ("/a\\b", &["/a\\b", "/a/b"]),
            ("/a%5cb", &["/a\\b", "/a/b"]),
            ("/a;x=1/b", &["/a;x=1/b", "/a/b"]),
            ("/a/;x", &["/a/;x", "/a/"]),
            ("/%2561", &["/%61", "/a"]),
            ("/a%252Fb", &["/a%2Fb", "/a¦b", "/a/b"]),
            ("/a;x%2Fb", &["/a;x¦b", "/a", "/a;x/b", "/a/b"]),
            ("/a%3Bx/b", &["/a;x/b", "/a/b"]),
        ] {
            let found = shown(path).unwrap_or_else(|| panic!("{path} is clear"));
            for reading in expected {
                assert!(found.iter().any(|one| one == reading), "{path} as {reading}: {found:?}");
            }
            assert_eq!(found.len(), expected.len(), "{path}: {found:?}");
            assert_eq!(found[0], expected[0], "{path}: the gateway's comes first");
        }
    }

    #[test]
    fn what_nobody_can_tell() {
        let long = format!("/{}%2F", "a".repeat(10_240));
        for path in ["/%252541", "/a%25252Fb", "/a%00", "/a%0A", "/a%2500", "/a%7f", "/%C0%AF", "/%E9", &long]
        {
            assert_eq!(shown(path), None, "{path}");
        }
        for path in ["/%C3%A9", "/%25C3%25A9", &long.replace('%', "x")] {
            assert!(shown(path).is_some(), "{path}");
        }
    }
}
