//! Whatever happens to a pool, it is as the model of the simulation says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = pool_testkit::simulation::run_bytes(bytes) {
        panic!("{problem}");
    }
});
