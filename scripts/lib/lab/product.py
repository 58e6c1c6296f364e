"""All that the lab knows of the command line and the status of the binary `phalanx`."""

import http.client
import json
import os
import socket
import subprocess

from .state import LabError

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))


def target_file(name):
    """A release binary of this checkout."""
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(CHECKOUT, "target")
    return os.path.join(target, "release", name)


def find_binary(must_exist=True):
    """The binary under test: $PHALANX_BIN, or this checkout's release build."""
    path = os.path.abspath(os.environ.get("PHALANX_BIN") or target_file("phalanx"))
    if must_exist and not os.access(path, os.X_OK):
        raise LabError(f"{path} does not exist: run scripts/setup (or set PHALANX_BIN)")
    return path


def call(argv, what, timeout=20):
    """Runs a command of the binary to its end."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"{what} took longer than {timeout} s") from None
    except OSError as problem:
        raise LabError(f"cannot run {argv[0]}: {problem.strerror}; run scripts/setup (or set PHALANX_BIN)") from None
    if done.returncode != 0:
        raise LabError(f"{what} failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout


def make_certificates(binary, directory, cluster, members):
    """A cluster's authority, and an identity NAME.pem a member."""
    call([binary, "ca", "init", directory, "--cluster", cluster], "phalanx ca init")
    for name, number in members:
        issue(binary, directory, name, number)


def issue(binary, directory, name, number):
    """One member's identity."""
    call([binary, "ca", "issue", directory, "--name", name, "--id", str(number),
          "--out", os.path.join(directory, f"{name}.pem")], f"phalanx ca issue {name}")


def run_argv(binary, config):
    """How a member is started."""
    return [binary, "run", "--config", config]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a member's control socket."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        """Overrides the TCP connection."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def status(path, timeout=1.0):
    """A running member's own word, or None if it does not answer in time (it may be starting, or frozen).

    This is what `phalanx status --json` prints; asked directly, for the lab asks often and processors are few.
    """
    connection = UnixConnection(path, timeout)
    try:
        connection.request("GET", "/status", headers={"Connection": "close"})
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def drain(binary, path, seconds=20):
    """`phalanx drain`: returns when all units are gone."""
    call([binary, "drain", "--socket", path, "--timeout", str(seconds)], "phalanx drain", timeout=seconds + 5)


def unit(binary, config, path, source, destination):
    """The unit of forwarded traffic between two addresses, and its owner's number (None: nobody's)."""
    answer = json.loads(call([binary, "unit", "--forwarding", "--json", "--config", config, "--socket", path,
                              "icmp", source, destination], "phalanx unit"))
    return answer["unit"], answer.get("owner")


def connection_unit(binary, config, path, source, destination):
    """The unit of a TCP connection to a cluster address, and its owner's number; ends are (address, port)."""
    ends = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in (source, destination)]
    answer = json.loads(call([binary, "unit", "--json", "--config", config, "--socket", path, "tcp", *ends],
                             "phalanx unit"))
    return answer["unit"], answer.get("owner")


def disagreement(number, expected, report):
    """Why a member's status is not that of a healthy cluster of `expected` members, or None."""
    if report is None:
        return "does not answer on its socket"
    joined = sorted(member["id"] for member in report.get("members", []))
    if joined != sorted(expected):
        return f"sees members {joined} instead of {sorted(expected)} (role {report.get('role')})"
    if not report.get("master"):
        return "knows no master"
    units = report.get("units", {})
    if units.get("assigned") != units.get("total", 1024):
        return f"has {units.get('assigned')} of {units.get('total', 1024)} units assigned"
    if report.get("member", {}).get("id") != number:
        return f"says that it is member {report.get('member')}"
    return None


def cluster_problem(reports):
    """What keeps the cluster from being healthy, given each running member's status by number; None if nothing does."""
    for number, report in sorted(reports.items()):
        problem = disagreement(number, list(reports), report)
        if problem:
            return f"m{number} {problem}"
    masters = {report["master"] for report in reports.values()}
    if len(masters) > 1:
        return f"members name different masters: {sorted(masters)}"
    return None
