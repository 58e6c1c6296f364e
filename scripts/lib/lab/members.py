"""Members: starting, stopping, freezing, killing, and waiting for them to agree."""

import concurrent.futures
import os
import signal

from . import config, product
from .state import LabError, await_or_fail, await_true
from .topology import MEMBERS_MAX

#: How long a member may take to hand everything over after SIGTERM.
STOP_SECONDS = 15


def parse_member(facts, word):
    """m2, or 2 -> ("m2", 2)."""
    digits = word[1:] if word.startswith("m") else word
    if not digits.isdigit() or not 1 <= int(digits) <= facts["members"]:
        raise LabError(f"'{word}' is no member of this lab: use m1..m{facts['members']}")
    return f"m{int(digits)}", int(digits)


def member_list(facts):
    """All members, by name and number."""
    return [(f"m{number}", number) for number in range(1, facts["members"] + 1)]


def check_count(count):
    """A lab's number of members, or an error."""
    if not 1 <= count <= MEMBERS_MAX:
        raise LabError(f"a lab has 1 to {MEMBERS_MAX} members, not {count}")


def start(lab, facts, name, number):
    """Writes the member's configuration afresh and starts it."""
    os.makedirs(lab.path(name, "state"), exist_ok=True)
    path = lab.path(name, "config.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config.member_config(lab, facts, name, number))
    argv = ["ip", "netns", "exec", name, *product.run_argv(facts["binary"], path)]
    lab.ask(op="spawn", name=name, argv=argv, log=lab.path(name, "log.json"), env={"RUST_BACKTRACE": "1"})


def send(lab, name, number):
    """Sends a signal to a member."""
    lab.ask(op="signal", name=name, signal=int(number))


def has_ended(lab, name):
    """Whether a member's process is gone."""
    return lab.ask(op="list").get(name, {}).get("pid") is None


def stop(lab, name):
    """Asks a member to leave, and waits until it has."""
    send(lab, name, signal.SIGTERM)
    await_or_fail(lambda: has_ended(lab, name), STOP_SECONDS, f"{name} did not end after SIGTERM")
    code = lab.ask(op="list")[name]["exit"]
    if code != 0:
        raise LabError(f"{name} ended with {code} after SIGTERM, log: {lab.path(name, 'log.json')}")


def kill(lab, name):
    """kill -9; returns when the process is gone."""
    send(lab, name, signal.SIGKILL)
    await_or_fail(lambda: has_ended(lab, name), 5, f"{name} did not end after SIGKILL")


def process_word(entry):
    """What has become of a process that the holder was asked to start."""
    if entry is None:
        return "never"
    if entry["pid"] is None:
        return "exited"
    return "paused" if entry["paused"] else "running"


def survey(lab, facts):
    """Every member's process and, if it answers, its own status. Members are asked at the same time."""
    processes = lab.ask(op="list")
    rows = []
    for name, number in member_list(facts):
        entry = processes.get(name)
        rows.append({
            "name": name, "id": number, "process": process_word(entry), "pid": None,
            "exit": entry["exit"] if entry else None, "socket": lab.path(name, "ctl.sock"),
            "log": lab.path(name, "log.json"), "config": lab.path(name, "config.toml"), "phalanx": None,
            "pid_inside": entry["pid"] if entry else None,
        })
    running = [row for row in rows if row["process"] == "running"]
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        for row, report in zip(running, pool.map(lambda row: product.status(row["socket"]), running)):
            row["phalanx"] = report
    translate_pids(lab, rows)
    return rows


def translate_pids(lab, rows):
    """Fills in the members' PIDs as seen from outside of the lab (/proc/PID/status lists one PID a namespace)."""
    wanted = {row["pid_inside"]: row for row in rows if row["pid_inside"]}
    holder = lab.holder_pid()
    try:
        with open(f"/proc/{holder}/task/{holder}/children", encoding="ascii") as file:
            children = file.read().split()
    except OSError:
        return
    for child in children:
        try:
            with open(f"/proc/{child}/status", encoding="utf-8", errors="replace") as file:
                inner = next(line for line in file if line.startswith("NSpid:")).split()[-1]
        except (OSError, StopIteration):
            continue
        if int(inner) in wanted:
            wanted[int(inner)]["pid"] = int(child)


def problem_of(rows):
    """What keeps the running members from being one healthy cluster, or None."""
    reports = {row["id"]: row["phalanx"] for row in rows if row["process"] == "running"}
    if not reports:
        return "no member is running"
    return product.cluster_problem(reports)


def log_tail(path, lines=15):
    """The last lines of a member's log."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(f"    {line}" for line in file.readlines()[-lines:])
    except OSError:
        return "    (no log)\n"


def wait_healthy(lab, facts, seconds, expected=None):
    """Waits until all running members agree. `expected` members must be running; one that has ended fails at once."""
    last = {}

    def settled():
        rows = survey(lab, facts)
        last["rows"] = rows
        ended = [row for row in rows if row["name"] in (expected or []) and row["process"] == "exited"]
        last["problem"] = (f"{ended[0]['name']} ended with {ended[0]['exit']}" if ended else problem_of(rows))
        return ended or last["problem"] is None

    await_true(settled, seconds, interval=0.1)
    if last["problem"]:
        tails = "".join(f"  {row['name']} ({row['process']}):\n{log_tail(row['log'])}" for row in last["rows"])
        raise LabError(f"the cluster is not healthy after {seconds} s: {last['problem']}\n{tails.rstrip()}")
