//! Runs `countersign::fuzzing::config`, which says what is promised.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| countersign::fuzzing::config(input));
