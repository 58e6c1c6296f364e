"""The lab's commands. Standard output is what was asked for; what happens is told on standard error.

Exit codes: 0 done, 1 failed, 2 wrong usage; `exec` passes on the command's own.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys

from . import config, links, members, product, topology, uml
from .state import Lab, LabError, all_labs, say


def main():
    """Entry point of scripts/lab."""
    arguments = parser().parse_args()
    try:
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces: run it as root")
        return arguments.run(Lab(arguments.name), arguments) or 0
    except LabError as problem:
        say(f"lab: {problem}")
        return 1
    except KeyboardInterrupt:
        return 130


def parser():
    """The command line."""
    top = argparse.ArgumentParser(prog="lab", description="A cluster, its LANs and its hosts on one machine.")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=argparse.SUPPRESS, help="which lab (several can exist at once)")
    top.add_argument("--name", default="default", help="which lab (several can exist at once)")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(word, function, text):
        sub = commands.add_parser(word, help=text, description=text, parents=[named])
        sub.set_defaults(run=function)
        return sub

    up = command("up", up_command, "build the lab and start its members")
    up.add_argument("--members", type=int, default=3)
    up.add_argument("--mode", choices=["forward", "unicast", "multicast"], default="forward")
    up.add_argument("--family", choices=["4", "6", "both"], default="both",
                    help="for scripts that pass it on; the lab always has both")
    up.add_argument("--quorum", choices=["none", "majority"], default="none")
    up.add_argument("--period-ms", type=float, default=25)
    up.add_argument("--losses-min", type=int, default=5)
    up.add_argument("--config", metavar="FILE", help="TOML, merged into every member's configuration")
    up.add_argument("--no-start", action="store_true", help="build everything, start no member")
    up.add_argument("--timeout", type=float, default=30, help="seconds until all members must agree")

    down = command("down", down_command, "end the lab and remove all of it")
    down.add_argument("--save", metavar="DIR", help="copy logs and configurations there first")
    command("status", status_command, "show members, hosts and cuts").add_argument("--json", action="store_true")
    command("list", list_command, "name all labs")

    member = command("member", member_command, "start, stop, kill, pause or resume a member")
    member.add_argument("verb", choices=["start", "stop", "kill", "pause", "resume", "wait"])
    member.add_argument("member", nargs="*", metavar="M")
    member.add_argument("--timeout", type=float, default=30)

    link = command("link", link_command, "cut or heal a member's port")
    link.add_argument("verb", choices=["cut", "heal"])
    link.add_argument("member", metavar="M")
    link.add_argument("port", choices=[*topology.PORTS, "all"])
    link.add_argument("--direction", choices=["rx", "tx", "both"], default="both", help="rx = towards the member")
    link.add_argument("--loss", type=float, default=100, metavar="PERCENT")
    link.add_argument("--carrier", action="store_true", help="pull the cable: the member's link goes down")

    host = command("host", host_command, "add a host")
    host.add_argument("verb", choices=["add"])
    host.add_argument("host", metavar="NAME")
    host.add_argument("side", choices=list(topology.SIDES))
    host.add_argument("--uml", action="store_true", help="with a kernel of its own (user-mode Linux)")
    host.add_argument("--addresses", type=int, default=1)
    host.add_argument("--priority", type=int, default=0, help="of a kernel of its own, real-time; 0: like everyone")

    execute = command("exec", exec_command, "run a command in a host, a member's namespace, or `switch`")
    execute.add_argument("--timeout", type=float, metavar="SECONDS", help="kill the command after so long")
    execute.add_argument("host", metavar="HOST")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD")

    capture = command("capture", capture_command, "record what a host, member or the switch sees, as pcap")
    capture.add_argument("host", metavar="HOST")
    capture.add_argument("file", metavar="FILE")
    capture.add_argument("--seconds", type=float)
    capture.add_argument("--interface", default="any")
    capture.add_argument("--filter", default="", metavar="EXPRESSION")
    capture.add_argument("--lazy", action="store_true", help="write once in a while: it spares the processors")
    return top


# -- up and down --------------------------------------------------------------------------------------------------------


def up_command(lab, arguments):
    """Builds everything; whatever interrupts it, nothing is left behind."""
    stop_like_ctrl_c()
    holder = bring_up(lab, arguments)
    holder.stdin.write(b"keep\n")
    holder.stdin.close()
    say(f"lab '{lab.name}': {arguments.members} members, {arguments.mode}, up; files in {lab.dir}")


def bring_up(lab, arguments):
    """Builds the lab and starts its members. It ends with this process, unless `keep` is written to the holder."""
    members.check_count(arguments.members)
    binary = product.find_binary(must_exist=not arguments.no_start)
    overrides = config.read_overrides(arguments.config) if arguments.config else {}
    if lab.holder_pid():
        raise LabError(f"lab '{lab.name}' is up already: `scripts/lab down --name {lab.name}` ends it")
    lab.destroy()  # files of a lab that died
    try:
        holder = lab.start_holder()
        facts = {
            "name": lab.name, "mode": arguments.mode, "quorum": arguments.quorum, "period_ms": arguments.period_ms,
            "losses_min": arguments.losses_min, "members": arguments.members, "binary": binary, "overrides": overrides,
            "hugepages": hugepages_free() >= 32 * arguments.members, "hosts": [], "cuts": [],
        }
        build(lab, facts)
        if not arguments.no_start:
            start_all(lab, facts, arguments.timeout)
    except BaseException:
        lab.destroy()
        raise
    return holder


def stop_like_ctrl_c():
    """Signals that end a command end it the way Ctrl-C does, so that it can clear up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)


def interrupted(_number, _frame):
    """See stop_like_ctrl_c."""
    raise KeyboardInterrupt


def hugepages_free():
    """How many 2 MiB pages a member could still get."""
    try:
        with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def build(lab, facts):
    """Bridges, members' namespaces, and the two hosts that every lab has."""
    scripts = [topology.switch_script()]
    scripts += [topology.member_script(name, number) for name, number in members.member_list(facts)]
    lab.run("\n".join(scripts), "building the lab")
    lab.save(facts)
    add_host(lab, facts, "client", "outside", topology.HOST_BLOCK)
    add_host(lab, facts, "server", "inside", topology.HOST_BLOCK)
    lab.save(facts)


def start_all(lab, facts, timeout):
    """Certificates, then all members, then patience."""
    product.make_certificates(facts["binary"], lab.path("ca"), f"lab-{lab.name}", members.member_list(facts))
    for name, number in members.member_list(facts):
        members.start(lab, facts, name, number)
    members.wait_healthy(lab, facts, timeout, expected=[name for name, _ in members.member_list(facts)])


def down_command(lab, arguments):
    """Ends a lab. One that is not there is no error: the wish is fulfilled."""
    if arguments.save:
        save_files(lab, arguments.save)
    lab.destroy()


def save_files(lab, directory):
    """Copies logs, configurations and reports of a lab."""
    if os.path.isdir(lab.dir):
        shutil.copytree(lab.dir, directory, dirs_exist_ok=True, ignore=private_files)


def private_files(directory, names):
    """What is not copied: keys and sockets."""
    return [name for name in names if name == "ca" or not is_plain(os.path.join(directory, name))]


def is_plain(path):
    """Whether it is a file or directory that can be copied and shown around."""
    return (os.path.isfile(path) or os.path.isdir(path)) and not path.endswith((".pem", ".key"))


# -- looking --------------------------------------------------------------------------------------------------------------


def status_command(lab, arguments):
    """Members, hosts, cuts; for people or as JSON."""
    facts = lab.load()
    rows = members.survey(lab, facts)
    problem = members.problem_of(rows)
    if arguments.json:
        for row in rows:
            del row["pid_inside"]
        print(json.dumps({
            "name": lab.name, "mode": facts["mode"], "quorum": facts["quorum"], "period_ms": facts["period_ms"],
            "holder_pid": lab.holder_pid(), "dir": lab.dir, "healthy": problem is None, "problem": problem,
            "members": rows, "hosts": facts["hosts"], "cuts": facts["cuts"],
        }))
        return 0
    print(f"lab {lab.name}: {facts['mode']}, quorum {facts['quorum']}, period {facts['period_ms']:g} ms, "
          f"{'healthy' if problem is None else problem}")
    for row in rows:
        report = row["phalanx"] or {}
        units = report.get("units", {})
        role = report.get("role", "-")
        print(f"  {row['name']:5} {row['process']:8} {role:8} units {units.get('own', '-')} master {report.get('master', '-')}")
    for host in facts["hosts"]:
        print(f"  {host['name']:12} {host['side']:8} {host['addresses'][0]} {host['addresses'][1]}")
    for entry in facts["cuts"]:
        print(f"  cut: {entry['member']} {entry['port']} {entry['direction']} {entry['loss']:g} %")
    return 0


def list_command(_lab, _arguments):
    """Names all labs."""
    for name in all_labs():
        print(name)


def capture_command(lab, arguments):
    """Records until --seconds have passed or Ctrl-C."""
    facts = lab.load()
    if is_uml(facts, arguments.host):
        # Packet sockets do not reach into another kernel: its tap on the switch sees all that it sends and receives.
        namespace, interface = None, uml.tap_of(arguments.host)
    else:
        namespace, interface = namespace_of(lab, facts, arguments.host), arguments.interface
    path = os.path.abspath(arguments.file)
    promptly = ["--buffer-size=16384"] if arguments.lazy else ["--immediate-mode"]
    argv = ["tcpdump", "-i", interface, "-n", "-U", *promptly, "-Z", "root", "-w", path]
    if arguments.seconds:
        argv = ["timeout", "--preserve-status", "-s", "INT", str(arguments.seconds), *argv]
    return subprocess.run(lab.enter(namespace) + argv + arguments.filter.split(), check=False).returncode


def exec_command(lab, arguments):
    """Becomes the command: input, output, signals and exit code are its own."""
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not words:
        raise LabError("nothing to run: `scripts/lab exec HOST -- COMMAND ...`")
    facts = lab.load()
    if is_uml(facts, arguments.host):
        stop_like_ctrl_c()
        return uml.execute(lab, arguments.host, words, arguments.timeout)
    limit = ["timeout", "--foreground", "-k", "1", f"{arguments.timeout:g}"] if arguments.timeout else []
    argv = lab.enter(namespace_of(lab, facts, arguments.host)) + limit + words
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def is_uml(facts, name):
    """Whether a host has a kernel of its own."""
    return any(host["name"] == name and host["kind"] == "uml" for host in facts["hosts"])


def namespace_of(lab, facts, name):
    """The network namespace of a host or member; None is the switch's."""
    if name == "switch":
        return None
    names = [host["name"] for host in facts["hosts"] if host["kind"] == "netns"]
    names += [member for member, _ in members.member_list(facts)]
    if name not in names:
        raise LabError(f"lab '{lab.name}' has no host '{name}': it has switch, {', '.join(names)}")
    return name


# -- changing ---------------------------------------------------------------------------------------------------------------


def member_command(lab, arguments):
    """start, stop, kill, pause, resume one or more members; wait for all."""
    facts = lab.load()
    if not arguments.member and arguments.verb != "wait":
        raise LabError(f"which member? m1..m{facts['members']}")
    for word in arguments.member:
        name, number = members.parse_member(facts, word)
        if arguments.verb == "start":
            if not os.path.exists(lab.path("ca", f"{name}.pem")):
                ensure_certificates(lab, facts)
            members.start(lab, facts, name, number)
        elif arguments.verb == "stop":
            members.stop(lab, name)
        elif arguments.verb == "kill":
            members.kill(lab, name)
        elif arguments.verb in ("pause", "resume"):
            members.send(lab, name, signal.SIGSTOP if arguments.verb == "pause" else signal.SIGCONT)
    if arguments.verb == "wait":
        members.wait_healthy(lab, facts, arguments.timeout, expected=arguments.member)


def ensure_certificates(lab, facts):
    """`up --no-start` made none yet."""
    product.make_certificates(facts["binary"], lab.path("ca"), f"lab-{lab.name}", members.member_list(facts))


def link_command(lab, arguments):
    """cut, heal."""
    name, _ = members.parse_member(lab.load(), arguments.member)
    if arguments.verb == "heal":
        links.heal(lab, name, arguments.port, arguments.direction)
        return
    if not 0 < arguments.loss <= 100:
        raise LabError(f"--loss is a percentage above 0 and up to 100, not {arguments.loss:g}")
    links.cut(lab, name, arguments.port, arguments.direction, arguments.loss, arguments.carrier)


def host_command(lab, arguments):
    """Adds a host; its IPv4 and IPv6 addresses are printed."""
    with lab.changing() as facts:
        name = arguments.host
        taken = [host["name"] for host in facts["hosts"]] + ["switch"] + [m for m, _ in members.member_list(facts)]
        if name in taken or not name.isalnum() or len(name) > 12:
            raise LabError(f"'{name}' cannot be a host's name here: up to 12 letters or digits, none of {taken}")
        if arguments.uml:
            host = uml.add(lab, facts, name, arguments.side, arguments.priority)
        else:
            host = add_host(lab, facts, name, arguments.side, arguments.addresses)
    print(" ".join(host["addresses"][:2]))


def add_host(lab, facts, name, side, count):
    """A host that is a network namespace."""
    index = sum(1 for host in facts["hosts"] if host["side"] == side)
    addresses = topology.host_addresses(side, index, count)
    lab.run(topology.host_script(name, side, addresses), f"adding host {name}")
    host = {"name": name, "side": side, "kind": "netns", "addresses": [one for pair in addresses for one in pair]}
    facts["hosts"].append(host)
    return host
