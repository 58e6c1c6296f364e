//! Hosts with a kernel of their own (user-mode Linux), served by the cluster like any other, and the tool's ways into them.

use std::time::Duration;

use phalanx_tests::lab::capture::Capture;
use phalanx_tests::lab::{Lab, Plan, clock, failure};

/// Asks the guest something that takes no time; the answer must not take long either.
fn answers(lab: &Lab) {
    let began = clock::now();
    assert_eq!(lab.run("guest", &["echo", "here"]).unwrap(), "here\n");
    assert!(began.elapsed() < Duration::from_secs(5), "the guest answered after {:?}", began.elapsed());
}

/// Pings in both directions, seen on the guest's tap.
fn is_served(lab: &Lab) {
    let capture = Capture::start(lab, "guest", "any", "guest", "icmp").unwrap();
    for (host, to) in [("guest", "10.3.0.100"), ("guest", "10.2.0.10"), ("server", "10.2.0.164")] {
        let _ = lab.exec(host, &["ping", "-n", "-q", "-c", "1", "-W", "1", to]);
        let said = lab.run(host, &["ping", "-n", "-q", "-c", "5", "-i", "0.05", "-W", "1", to]).unwrap();
        assert!(said.contains(" 0% packet loss"), "{host} -> {to}: {said}");
    }
    let frames = capture.finish().unwrap();
    let kind = |kind: u8| frames.iter().filter(|f| f.ip().is_some_and(|ip| ip.3.first() == Some(&kind))).count();
    let (requests, answers) = (kind(8), kind(0));
    assert!(requests >= 15 && answers >= 15, "the capture has {requests} requests and {answers} answers");
}

/// Commands in the guest are like any others: input goes in, output comes as it is written, the exit code comes back.
fn commands_are_commands(lab: &Lab) {
    let mut echo =
        lab.start_in("guest", &["sh", "-c", "echo ready; while read line; do echo got $line; done"]).unwrap();
    echo.expect("ready").unwrap();
    for word in ["one", "two"] {
        echo.say(word).unwrap();
        echo.expect(&format!("got {word}")).unwrap();
    }
    // Another command does not wait for this one.
    answers(lab);
    drop(echo);
    let done = lab.exec("guest", &["sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap();
    let said = (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr).into_owned());
    assert_eq!((done.status.code(), said.0.as_str(), said.1.as_str()), (Some(7), "out\n", "err\n"));
}

/// Nothing goes on in the guest that nobody waits for.
fn no_longer_than_wanted(lab: &Lab) {
    let running = |seconds: &str| {
        let listed = lab.run("guest", &["ps", "-e", "-o", "args="])?;
        Ok(listed.lines().any(|line| line.trim() == format!("sleep {seconds}")))
    };
    let until_gone = |seconds: &str| {
        clock::until(Duration::from_secs(5), Duration::from_millis(50), || match running(seconds)? {
            false => Ok(()),
            true => Err(failure(format!("sleep {seconds} goes on"))),
        })
        .unwrap();
    };
    let mut sleeper = lab.start_in("guest", &["sh", "-c", "echo ready; sleep 1001"]).unwrap();
    sleeper.expect("ready").unwrap();
    sleeper.interrupt();
    until_gone("1001");
    let problem = lab.call(&["exec", "--timeout", "0.5", "guest", "--", "sleep", "1002"]).unwrap_err();
    assert!(problem.0.contains("has not ended within 0.5 s"), "{problem}");
    until_gone("1002");
    answers(lab);
}

#[test]
fn a_host_with_its_own_kernel_is_served() {
    let lab = Lab::up(Plan::new("forward", "none")).unwrap();
    lab.call(&["host", "add", "guest", "outside", "--uml"]).unwrap();
    is_served(&lab);
    commands_are_commands(&lab);
    no_longer_than_wanted(&lab);
}
