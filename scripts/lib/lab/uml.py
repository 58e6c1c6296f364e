"""Hosts with a kernel of their own: user-mode Linux, for what the machine's kernel lacks (IPsec, PPP, L2TP, netem).

The guest sees the machine's file system (hostfs), with /etc and /var under an overlay so that it cannot change them. Commands
travel as files in the lab's directory, NAME/: NUMBER.sh is the command, NUMBER.in.1, NUMBER.in.2, ... what it is to read and
NUMBER.eof the end of that, NUMBER.out and NUMBER.err what it writes, NUMBER.exit how it ended; NUMBER.kill ends it. Input comes
in pieces because a guest does not see a file grow that it has open; a piece has its name only when it is whole.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time

from .state import LabError, await_or_fail, await_true
from .topology import CLUSTER_HOST, SIDES, host_addresses

INIT = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t hostfs -o {work} none /mnt || exec sh -c 'echo o > /proc/sysrq-trigger'
mount -t tmpfs run /run
mkdir /run/ov /run/lab; mount --move /mnt /run/lab; mount -t tmpfs ov /run/ov; modprobe -a overlay ipv6
for d in etc var; do
  mkdir -p /run/ov/$d.u /run/ov/$d.w
  # Without it the guest could change the machine's own files: better no guest.
  mount -t overlay -o lowerdir=/$d,upperdir=/run/ov/$d.u,workdir=/run/ov/$d.w ov$d /$d || {{ echo o > /proc/sysrq-trigger; sleep 9; }}
done
ip link set lo up
{network}
: > /run/lab/ready
n=1
while :; do
  if [ -f /run/lab/$n.sh ]; then
    sh /run/lab/run /run/lab/$n &
    n=$((n+1))
  fi
  sleep 0.02
done
"""

# Runs one command in the guest, in a process group of its own. What it writes lies in the guest's memory until `sync`.
RUN = """#!/bin/sh
n=$1
feed() {
  k=1
  while [ ! -f $n.exit ]; do
    if [ -f $n.in.$k ]; then cat $n.in.$k || return; rm -f $n.in.$k; k=$((k+1))
    elif [ -f $n.eof ]; then return
    else sleep 0.02; fi
  done
}
: > $n.out; : > $n.err
feed 2> /dev/null | setsid sh $n.sh > $n.out 2> $n.err &
p=$!
while kill -0 $p 2> /dev/null; do
  if [ -f $n.kill ]; then kill -KILL -$p; fi
  sync $n.out $n.err
  sleep 0.03
done
wait $p; code=$?
sync $n.out $n.err
echo $code > $n.tmp; sync $n.tmp; mv $n.tmp $n.exit
"""

#: How long a guest may take to end a command that is to be killed.
KILL_SECONDS = 5


def add(lab, facts, name, side, priority=0):
    """Boots a guest on a tap port of the side's bridge, and waits until it takes commands. With a real-time priority, what is
    measured through it is not the machine's other work."""
    modules = os.listdir("/usr/lib/uml/modules") if os.path.isdir("/usr/lib/uml/modules") else []
    if not shutil.which("linux.uml") or not any(os.path.isdir(f"/lib/modules/{version}") for version in modules):
        raise LabError("user-mode Linux is missing or does not find its modules: run scripts/setup")
    index = sum(1 for host in facts["hosts"] if host["side"] == side)
    four, six = host_addresses(side, index, 1)[0]
    work = lab.path(name)
    os.makedirs(work)
    write(os.path.join(work, "run"), RUN)
    write(os.path.join(work, "init"), INIT.format(work=work, network=network_script(side, four, six)), 0o755)
    tap = tap_of(name)
    lab.run(f"ip tuntap add {tap} mode tap\nsysctl -qw net.ipv6.conf.{tap}.disable_ipv6=1\n"
            f"ip link set {tap} master {side} up", f"adding host {name}")
    argv = ["linux.uml", "mem=128M", f"umid={name}", f"uml_dir={work}", "rootfstype=hostfs", "rootflags=/", "rw",
            f"init={work}/init", "con=null", "con0=null,fd:1", "quiet",
            f"vec0:transport=tap,ifname={tap},depth=128,gro=1"]
    if priority:
        argv = ["chrt", "--fifo", str(priority), *argv]
    lab.ask(op="spawn", name=name, argv=argv, log=lab.path(name, "console.log"),
            env={"TMPDIR": "/dev/shm", "HOME": work, "LD_PRELOAD": registers(lab, name)})
    await_or_fail(lambda: os.path.exists(os.path.join(work, "ready")), 30, f"host {name} did not boot")
    host = {"name": name, "side": side, "kind": "uml", "addresses": [four, six], "next": 1}
    facts["hosts"].append(host)
    return host


def registers(lab, name):
    """A library that user-mode Linux is to load, or it runs on no processor that is newer than it (the source says why)."""
    source, library = os.path.join(os.path.dirname(__file__), "uml_registers.c"), lab.path(name, "registers.so")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise LabError("a C compiler is missing: run scripts/setup")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def tap_of(name):
    """The switch's end of a guest's interface."""
    return f"{name}-0"


def network_script(side, four, six):
    """Addresses and routes, as `topology.host_script` gives them to other hosts."""
    other = "inside" if side == "outside" else "outside"
    (mine4, mine6), (theirs4, theirs6) = SIDES[side], SIDES[other]
    return "\n".join([
        f"ip addr add {four}/24 dev vec0", f"ip addr add {six}/64 dev vec0 nodad", "ip link set vec0 up",
        f"ip route add {theirs4}0/24 via {mine4}{CLUSTER_HOST}", f"ip route add {theirs6}/64 via {mine6}{CLUSTER_HOST}",
    ])


def write(path, text, mode=0o644):
    """Writes a file under its name only when it is whole."""
    with open(path + ".new", "wb") as file:
        file.write(text.encode() if isinstance(text, str) else text)
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)


def execute(lab, name, words, seconds=None):
    """Runs one command in the guest: input, output and exit code are its own. It ends when this does, or after `seconds`."""
    with lab.changing() as facts:
        host = next(h for h in facts["hosts"] if h["name"] == name)
        number = host["next"]
        host["next"] += 1
    base = lab.path(name, str(number))
    write(base + ".sh", shlex.join(words) + "\n")
    threading.Thread(target=feed, args=(base,), daemon=True).start()
    try:
        return follow(base, words, seconds)
    except BaseException:
        end(base)
        raise


def follow(base, words, seconds):
    """Passes on what the command writes while it runs; its exit code."""
    deadline = time.monotonic() + seconds if seconds else None
    places = {".out": 0, ".err": 0}
    while True:
        ended = os.path.exists(base + ".exit")  # looked at first: what is written by then is all there will be
        for suffix, stream in ((".out", sys.stdout.buffer), (".err", sys.stderr.buffer)):
            places[suffix] += pass_on(base + suffix, places[suffix], stream)
        if ended:
            with open(base + ".exit", encoding="ascii") as code:
                return int(code.read())
        if deadline and time.monotonic() > deadline:
            raise LabError(f"`{shlex.join(words)}` has not ended within {seconds:g} s: killed")
        time.sleep(0.02)


def pass_on(path, place, stream):
    """Copies what a file holds from `place` on; how much that was."""
    try:
        with open(path, "rb") as file:
            file.seek(place)
            text = file.read()
    except FileNotFoundError:
        return 0
    stream.write(text)
    stream.flush()
    return len(text)


def feed(base):
    """Hands this process's input to the command, as it comes."""
    count = 0
    with contextlib.suppress(OSError):  # no input, or the lab has gone
        while piece := os.read(sys.stdin.fileno(), 1 << 16):
            count += 1
            write(f"{base}.in.{count}", piece)
    with contextlib.suppress(OSError):
        write(base + ".eof", "")


def end(base):
    """Kills a command that nobody waits for any more."""
    with contextlib.suppress(OSError):
        write(base + ".kill", "")
        await_true(lambda: os.path.exists(base + ".exit"), KILL_SECONDS)
