"""The one process in which a lab lives.

The holder is process 1 of its own PID, network and mount namespaces. Whatever the lab starts is started by it or inside its
namespaces, so when the holder dies, however it dies, the kernel ends every process and takes down every interface: nothing
can be left behind.

It is a small server on a Unix socket: one JSON request a connection, one JSON answer. Until it reads the line `keep` on its
standard input it ends at end of file, so a killed `lab up` leaves nothing either.

Requests:  {"op": "spawn", "name": N, "argv": [...], "log": FILE, "env": {...}}
           {"op": "signal", "name": N, "signal": NUMBER}
           {"op": "list"}
"""

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys


class Holder:
    """Processes by name: their PID (as seen in here), and how they ended."""

    def __init__(self, directory):
        self.processes = {}
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(os.path.join(directory, "holder.sock"))
        self.listener.listen(16)

    def reap(self):
        """Collects every ended child; orphans of the namespaces become children of process 1, so they come here too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for process in self.processes.values():
                if process["pid"] == pid:
                    process.update(pid=None, exit=os.waitstatus_to_exitcode(status))

    def spawn(self, request):
        """Starts a process in a session of its own, its output appended to a file."""
        name = request["name"]
        if self.processes.get(name, {}).get("pid"):
            return {"error": f"{name} is running already"}
        environment = dict(os.environ, **request.get("env", {}))
        with open(request["log"], "ab") as log:
            child = subprocess.Popen(request["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     env=environment, start_new_session=True)
        self.processes[name] = {"pid": child.pid, "exit": None}
        child.returncode = 0  # reap() waits for it, not this object
        return self.processes[name]

    def signal(self, request):
        """Sends a signal to a process that was started by name."""
        pid = self.processes.get(request["name"], {}).get("pid")
        if not pid:
            return {"error": f"{request['name']} is not running"}
        os.kill(pid, request["signal"])
        return {}

    def list(self, _request):
        """All processes started so far; a frozen one has state T."""
        answer = {}
        for name, process in self.processes.items():
            answer[name] = dict(process, paused=bool(process["pid"]) and is_stopped(process["pid"]))
        return answer

    def serve_one(self):
        """Reads one request, answers it."""
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(2)
            try:
                line = connection.makefile("r").readline()
                request = json.loads(line)
                operations = {"spawn": self.spawn, "signal": self.signal, "list": self.list}
                answer = operations[request["op"]](request)
            except (OSError, ValueError, KeyError) as problem:
                answer = {"error": f"{type(problem).__name__}: {problem}"}
            try:
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except OSError:
                pass  # the asker has gone


def is_stopped(pid):
    """Whether SIGSTOP holds the process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


def prepare_namespaces():
    """Named network namespaces of this lab are visible in this lab only."""
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "lab-netns", "/run/netns"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def end_all():
    """Kills whatever lives in this PID namespace, and waits until it is gone: who still ran would write files anew."""
    if os.getpid() != 1:
        return  # not in a namespace of its own: "everything" would be the machine
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # nobody is there


def main():
    """Serves until killed, or until standard input ends before `keep` was read."""
    prepare_namespaces()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    holder = Holder(sys.argv[1])
    selector = selectors.DefaultSelector()
    selector.register(holder.listener, selectors.EVENT_READ, "request")
    selector.register(wake_read, selectors.EVENT_READ, "child")
    selector.register(sys.stdin, selectors.EVENT_READ, "parent")
    while True:
        for key, _ in selector.select():
            if key.data == "request":
                holder.reap()
                holder.serve_one()
            elif key.data == "child":
                os.read(wake_read, 4096)
                holder.reap()
            elif sys.stdin.readline().strip() == "keep":
                selector.unregister(sys.stdin)
            else:
                end_all()
                shutil.rmtree(sys.argv[1], ignore_errors=True)
                return 0


if __name__ == "__main__":
    sys.exit(main())
