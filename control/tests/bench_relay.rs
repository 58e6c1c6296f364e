//! `phalanx bench relay` runs, and its figures can be true. (How good they are is for README.)

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phalanx")).args(["bench", "relay"]).args(arguments).output().unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field} is no number: {row}"))
}

#[test]
fn every_byte_is_replicated_once_to_each_backup_and_what_waits_for_it_is_slower() {
    let output = bench(&["bulk", "requests", "connections", "--seconds", "0.3", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = rows(&output);
    let works: Vec<_> =
        rows.iter().map(|row| (row["work"].as_str().unwrap(), row["replicas"].as_u64().unwrap())).collect();
    let kinds = ["bulk", "requests-100", "requests-1000", "connections"];
    assert_eq!(works, kinds.iter().flat_map(|kind| [(*kind, 0), (*kind, 2)]).collect::<Vec<_>>());
    for row in &rows {
        let (log, link) = (number(row, "log_bytes_per_byte"), number(row, "link_bytes_per_byte"));
        assert!(number(row, "gbps") > 0.0 && number(row, "gbps_cpu") >= number(row, "gbps"), "{row}");
        if row["replicas"] == 0 {
            assert_eq!((log, link, number(row, "commit_us_p50")), (0.0, 0.0, 0.0), "{row}");
            continue;
        }
        // All that is relayed, and not much more where it is much. What is on its way when the measurement ends blurs it.
        let most = if row["work"] == "bulk" { 1.3 } else { 30.0 };
        assert!((0.9..most).contains(&log), "{row}");
        assert!((1.6..2.8).contains(&(link / log)), "{row}");
        assert!(number(row, "commit_us_p99") >= number(row, "commit_us_p50"), "{row}");
    }
    for pair in rows.chunks(2).filter(|pair| pair[0]["work"].as_str().unwrap().starts_with("requests")) {
        assert!(number(&pair[1], "answer_us_p50") > number(&pair[0], "answer_us_p50"), "{pair:?}");
        assert!(number(&pair[1], "answer_us_p50") > number(&pair[1], "commit_us_p50"), "{pair:?}");
    }
}

#[test]
fn a_takeover_is_measured_and_judged() {
    let output = bench(&["takeover", "--sessions", "300", "--rounds", "3", "--json"]);
    let (rows, said) = (rows(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(rows.iter().map(|row| row["sessions"].as_u64().unwrap()).collect::<Vec<_>>(), [100, 300], "{said}");
    for row in &rows {
        assert!(
            number(row, "first_us_p50") > 0.0 && number(row, "first_us_max") >= number(row, "first_us_p50"),
            "{row}"
        );
        assert!(number(row, "all_ms_p50") * 1e3 >= number(row, "first_us_p50"), "{row}");
    }
    let ratio = number(&rows[1], "first_us_p50") / number(&rows[0], "first_us_p50");
    assert!((ratio - number(&rows[1], "ratio")).abs() < 1e-6, "{rows:?}");
    // Three takeovers on a busy machine prove nothing; but what is printed must be what is judged.
    assert_eq!(output.status.success(), ratio <= 1.5, "{said}");
    assert_eq!(output.status.success(), !said.contains("times as long"), "{said}");
}

#[test]
fn wrong_usage_ends_with_two() {
    for arguments in [["--replicas", "0"], ["--seconds", "0"], ["nonsense", "--json"], ["--sessions", "1"]] {
        let output = bench(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}
