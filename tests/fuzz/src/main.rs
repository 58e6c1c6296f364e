//! One binary for all targets: `PHALANX_FUZZ_TARGET` names the one to run. See `scripts/fuzz`.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use phalanx_tests::fuzz::{self, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("PHALANX_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = fuzz::target(&name) else {
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("phalanx-fuzz: set PHALANX_FUZZ_TARGET to one of: {}", names.join(" "));
        std::process::exit(2);
    };
    target
}

fuzz_target!(init: { TARGET.get_or_init(chosen); }, |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        target(data);
    }
});
