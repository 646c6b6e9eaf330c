//! The fuzz targets on stable: every seed, and some thousand that were changed at random.
//!
//! The numbers come from a fixed start, so that a failure comes again; it names the input. `COUNTERSIGN_FUZZ_SEED` starts
//! elsewhere, `COUNTERSIGN_FUZZ_CASES` makes them more.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

/// Made from the seeds of each target, unless the environment says otherwise.
const CASES: u64 = 3000;

/// splitmix64: good enough to pick places and pieces.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound.max(1) as u64) as usize
    }

    fn range(&mut self, text: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(text.len() + 1);
        from..(from + 1 + self.below(12)).min(text.len()).max(from)
    }

    /// One of the seeds with a few changes: bytes flipped, pieces lost, doubled, taken from other seeds or from the
    /// dictionary.
    fn changed(&mut self, seeds: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
        let mut text = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            let range = self.range(&text);
            let piece = match self.below(6) {
                0 => Vec::new(),
                1 => vec![self.below(256) as u8],
                2 => [&text[range.clone()], &text[range.clone()]].concat(),
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    other[self.range(other)].to_vec()
                }
                _ => words[self.below(words.len())].clone(),
            };
            let range = if self.below(2) == 0 { range } else { range.start..range.start };
            text.splice(range, piece);
        }
        text
    }
}

/// The words of a dictionary in libFuzzer's form: `"text"` a line, with `\\`, `\"` and `\xAB`.
fn words(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let word = |line: &str| {
        let mut word = Vec::new();
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            if c != '\\' {
                word.extend(c.to_string().bytes());
            } else if let Some(hex) = rest.strip_prefix('x') {
                word.push(u8::from_str_radix(&hex[..2], 16).unwrap());
                rest = &hex[2..];
            } else {
                word.push(rest.as_bytes()[0]);
                rest = &rest[1..];
            }
        }
        word
    };
    lines.map(word).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut paths: Vec<_> =
        fs::read_dir(folder.join("corpus").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 10, "{name} has {} seeds", seeds.len());
    let words = words(&fs::read_to_string(folder.join("dictionaries").join(format!("{name}.dict"))).unwrap());
    assert!(words.len() >= 10, "{name} has {} words", words.len());

    let start = number("COUNTERSIGN_FUZZ_SEED").unwrap_or(1);
    let cases = number("COUNTERSIGN_FUZZ_CASES").unwrap_or(CASES);
    let mut random = Random(start);
    let changed = (0..cases).map(|_| random.changed(&seeds, &words));
    for input in seeds.iter().cloned().chain(changed) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            eprintln!("COUNTERSIGN_FUZZ_SEED={start}, {name}: \"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

#[test]
fn a_fuzzed_target_keeps_its_promises() {
    run("target", super::target);
}

#[test]
fn a_fuzzed_query_keeps_its_promises() {
    run("query", super::query);
}

#[test]
fn fuzzed_headers_keep_their_promises() {
    run("headers", super::headers);
}

#[test]
fn a_fuzzed_host_keeps_its_promises() {
    run("host", super::host);
}

#[test]
fn a_fuzzed_origin_keeps_its_promises() {
    run("origin", super::origin);
}

#[test]
fn a_fuzzed_configuration_keeps_its_promises() {
    run("config", super::config);
}
