//! Every decoder, chosen by the first byte. What they do with the rest is in `src/decoders.rs`, which the workspace's tests run as well.

#![no_main]

#[path = "../src/decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((which, bytes)) = input.split_first() {
        let (_, decode) = decoders::DECODERS[usize::from(*which) % decoders::DECODERS.len()];
        decode(bytes);
    }
});
