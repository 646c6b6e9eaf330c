//! Runs `countersign::fuzzing::host`, which says what is promised.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| countersign::fuzzing::host(input));
