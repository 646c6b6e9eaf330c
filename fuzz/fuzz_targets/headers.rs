//! Runs `countersign::fuzzing::headers`, which says what is promised.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| countersign::fuzzing::headers(input));
