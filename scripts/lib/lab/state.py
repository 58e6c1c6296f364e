"""What a lab is, on disk, and how its commands reach into it.

A lab NAME is the directory /run/phalanx-lab/NAME: `lab.json` (all that commands must remember), `lock`, `holder.sock`, and a
directory a member. Several labs live side by side; each has namespaces of its own, so all use the same addresses.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

ROOT = "/run/phalanx-lab"


class LabError(Exception):
    """Something went wrong that the user can act on; the message says what to do."""


class Lab:
    """One lab by name: its files, its lock, its holder."""

    def __init__(self, name):
        if not name or not all(c.isalnum() or c in "-_" for c in name) or len(name) > 32:
            raise LabError(f"'{name}' is no name for a lab: use up to 32 letters, digits, '-' or '_'")
        self.name = name
        self.dir = os.path.join(ROOT, name)

    def path(self, *parts):
        """A file of this lab."""
        return os.path.join(self.dir, *parts)

    def load(self):
        """What `up` and later commands wrote down."""
        try:
            with open(self.path("lab.json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            raise LabError(f"no lab '{self.name}' is up: start it with `scripts/lab up --name {self.name}`") from None

    def save(self, facts):
        """Replaces lab.json as a whole, so that a reader never sees half of it."""
        temporary = self.path("lab.json.new")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=1)
        os.replace(temporary, self.path("lab.json"))

    @contextlib.contextmanager
    def changing(self):
        """The facts, to be changed by one command at a time; saved when the block ends well."""
        self.load()
        with open(self.path("lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            facts = self.load()
            yield facts
            self.save(facts)

    # -- the holder -----------------------------------------------------------------------------------------------

    def holder_pid(self):
        """The holder's PID as seen from here, or None if it is not alive. Asked of the socket itself: never stale."""
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            try:
                connection.connect(self.path("holder.sock"))
            except OSError:
                return None
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return struct.unpack("3i", credentials)[0] or None

    def start_holder(self):
        """Starts the holder. The lab ends with the returned process's standard input, until `keep` is written to it."""
        os.makedirs(self.dir)
        program = os.path.join(os.path.dirname(os.path.realpath(__file__)), "holder.py")
        with open(self.path("holder.log"), "ab") as log:
            parent = subprocess.Popen(
                ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                 "--mount-proc", "/usr/bin/python3", "-B", program, self.dir],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        await_or_fail(lambda: self.holder_pid() or parent.poll() is not None, 5, "the lab's namespaces did not come up")
        if not self.holder_pid():
            with open(self.path("holder.log"), encoding="utf-8", errors="replace") as log:
                raise LabError("cannot make the lab's namespaces (root is needed): " + log.read().strip()[-500:])
        return parent

    def ask(self, **request):
        """One request to the holder."""
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            connection.settimeout(10)
            try:
                connection.connect(self.path("holder.sock"))
            except OSError:
                raise LabError(f"lab '{self.name}' has died; clear it away with `scripts/lab down --name {self.name}`"
                               ) from None
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(connection.makefile("r").readline() or '{"error": "the holder did not answer"}')
        if "error" in answer:
            raise LabError(answer["error"])
        return answer

    def destroy(self):
        """Kills the holder, and with it all that lives in its namespaces; then removes the files."""
        pid = self.holder_pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            await_or_fail(lambda: not os.path.exists(f"/proc/{pid}") or is_zombie(pid), 10,
                          "the lab's holder does not end")
        shutil.rmtree(self.dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(ROOT)

    # -- inside -----------------------------------------------------------------------------------------------------

    def enter(self, namespace=None):
        """The command prefix that runs something inside the lab, in a host's or member's network namespace.

        A command that is run in the foreground gets SIGTERM when its caller dies, and SIGKILL when the lab does.
        """
        pid = self.holder_pid()
        if not pid:
            raise LabError(f"lab '{self.name}' is not running")
        prefix = ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", "--", "setpriv", "--pdeathsig", "TERM"]
        return prefix + (["ip", "netns", "exec", namespace] if namespace else [])

    def run(self, script, what):
        """Runs a shell script in the lab's switch namespace; fails loudly."""
        done = subprocess.run(self.enter() + ["sh", "-eu"], input=script, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise LabError(f"{what} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout


def all_labs():
    """The names of all labs on this machine."""
    try:
        return sorted(entry.name for entry in os.scandir(ROOT) if entry.is_dir())
    except FileNotFoundError:
        return []


def is_zombie(pid):
    """Whether a process has ended and only waits to be collected."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def await_true(condition, seconds, interval=0.02):
    """Looks again and again, up to a bound, whether something is so."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(interval)


def await_or_fail(condition, seconds, complaint):
    """`await_true`, with an error at the end of the time."""
    value = await_true(condition, seconds)
    if not value:
        raise LabError(f"{complaint} within {seconds} s")
    return value


def say(text):
    """One line for the user; standard output is kept for what scripts read."""
    print(text, file=sys.stderr, flush=True)
