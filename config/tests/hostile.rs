//! Whatever the file holds, reading it ends with a value or with problems that have places in it: never a panic.

use phalanx_config::Config;
use proptest::prelude::*;

const EXAMPLES: [&str; 4] = [
    include_str!("../examples/three-members-m1.toml"),
    include_str!("../examples/relay.toml"),
    include_str!("../examples/road.toml"),
    include_str!("../examples/users.toml"),
];

fn read(text: &str) {
    match Config::from_str(text, "x.toml") {
        Ok(config) => drop(config.digest()),
        Err(errors) => {
            assert!(!errors.problems.is_empty());
            let lines = text.matches('\n').count() + 1;
            for problem in errors.problems {
                let (line, column) = problem.at.unwrap();
                assert!((1..=lines).contains(&line) && column >= 1);
                assert!(!problem.what.is_empty() && !problem.fix.is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text(text in "[\\[\\]{}=\",.#a-z0-9\\n ä-]{0,200}") {
        read(&text);
    }

    /// A sound file with a stretch replaced: gets past the TOML parser more often.
    #[test]
    fn a_damaged_example(
        example in prop::sample::select(&EXAMPLES),
        start in any::<prop::sample::Index>(),
        length in 0..40_usize,
        put in "[a-z0-9\"=\\[\\]. \\n-]{0,12}",
    ) {
        let chars: Vec<char> = example.chars().collect();
        let start = start.index(chars.len());
        let end = (start + length).min(chars.len());
        let text: String = chars[..start].iter().chain(put.chars().collect::<Vec<_>>().iter()).chain(&chars[end..]).collect();
        read(&text);
    }

    /// One value replaced by one of another type or size: gets past the TOML parser always.
    #[test]
    fn a_wrong_value(
        example in prop::sample::select(&EXAMPLES),
        line in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            "0", "-1", "1.5", "nan", "inf", "-inf", "1e999", "99999999999999999999", "true", "\"\"", "[]", "[[]]", "{}",
            "[{}]", "1979-05-27", "\"::\"", "\"0.0.0.0/0\"", "[\"::/0\"]", "[\"255.255.255.255/32\"]", "\"[::1%1]:1\"",
            "[\"[::ffff:1.2.3.4]:1\", \"1.2.3.4:65535\"]",
        ]),
    ) {
        let mut lines: Vec<String> = example.lines().map(str::to_owned).collect();
        let keyed: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains(" = ")).collect();
        let at = keyed[line.index(keyed.len())];
        let key = lines[at].split(" = ").next().unwrap().trim_start_matches("# ").to_owned();
        lines[at] = format!("{key} = {value}");
        read(&lines.join("\n"));
    }
}
