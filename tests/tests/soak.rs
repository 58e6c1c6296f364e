//! Faults every few seconds under traffic, for a long time; then nothing may have been left behind (Done when 6 of the
//! foundation). Needs root.
//!
//!     SOAK_MINUTES=30 SOAK_SEED=1 SOAK_MODE=forward cargo test --release -p phalanx-tests --test soak -- --nocapture
//!
//! The same seed draws the same faults. The summary is TARGET/soak/report.json.

use std::time::Duration;

use phalanx_tests::lab::{Lab, Plan, chaos, clock, stage};

fn number(name: &str, otherwise: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn nothing_is_left_behind() {
    let minutes = number("SOAK_MINUTES", 30.0);
    let seed = number("SOAK_SEED", (clock::wall_us() % 1_000_000) as f64) as u64;
    let mode = match std::env::var("SOAK_MODE").as_deref() {
        Ok("unicast") => "unicast",
        Ok("multicast") => "multicast",
        _ => "forward",
    };
    let mut lab = Lab::up(Plan::new(mode, "none")).unwrap();
    let summary = chaos::soak(&mut lab, seed, Duration::from_secs_f64(minutes * 60.0)).unwrap();
    let directory = stage::target_dir().join("soak");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("report.json");
    std::fs::write(&file, format!("{:#}\n", summary.report)).unwrap();
    println!("soak: {} faults; {}", summary.report["faults"], file.display());
    if !summary.problems.is_empty() {
        lab.keep_logs();
    }
    assert!(summary.problems.is_empty(), "seed {seed}: {:#?}", summary.problems);
}
