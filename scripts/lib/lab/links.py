"""Faults on members' ports: silent cuts, one-way cuts, loss, and pulled cables.

A silent cut drops frames at the switch's end of the port, where neither side sees its link go down: the hard case. `rx` is
what the switch sends to the member (egress hook), `tx` what the member sends (ingress hook). The member's own end would not
do: a packet socket sees frames before the ingress hook there drops them.
"""

import subprocess

from .state import LabError
from .topology import PORTS, member_port


def ports_of(word):
    """The ports that a command means."""
    if word == "all":
        return list(PORTS)
    if word not in PORTS:
        raise LabError(f"'{word}' is no port: use outside, inside, cluster or all")
    return [word]


def directions_of(word):
    """The directions that a command means."""
    return ["rx", "tx"] if word == "both" else [word]


def cut(lab, member, port_word, direction, loss, carrier):
    """Cuts a member's port, or loses a share of its frames. Cuts of several ports and directions add up."""
    with lab.changing() as facts:
        for port in ports_of(port_word):
            if carrier:
                lab.run(f"ip link set {member_port(member, port)} down", f"pulling {member}'s {port} cable")
                record(facts, member, port, "carrier", 100)
                continue
            for way in directions_of(direction):
                record(facts, member, port, way, loss)
        if not carrier:
            apply(lab, facts, member, ports_of(port_word))


def heal(lab, member, port_word, direction):
    """Ends the cuts of a member's port."""
    with lab.changing() as facts:
        for port in ports_of(port_word):
            pulled = find(facts, member, port, "carrier")
            if pulled and direction == "both":
                lab.run(f"ip link set {member_port(member, port)} up", f"plugging {member}'s {port} cable in")
                facts["cuts"].remove(pulled)
            for way in directions_of(direction):
                old = find(facts, member, port, way)
                if old:
                    facts["cuts"].remove(old)
        apply(lab, facts, member, ports_of(port_word))


def find(facts, member, port, direction):
    """The cut of one direction of one port, if there is one."""
    for entry in facts["cuts"]:
        if (entry["member"], entry["port"], entry["direction"]) == (member, port, direction):
            return entry
    return None


def record(facts, member, port, direction, loss):
    """Notes a cut in the lab's facts."""
    entry = find(facts, member, port, direction)
    if entry is None:
        entry = {"member": member, "port": port, "direction": direction}
        facts["cuts"].append(entry)
    entry["loss"] = loss


def ruleset(facts, member, port):
    """The nft script that makes the rules of one port what the facts say."""
    device = member_port(member, port)
    table = f"cut_{device.replace('-', '_')}"
    lines = [f"table netdev {table} {{}}", f"delete table netdev {table}"]
    chains = []
    for direction, hook in (("rx", "egress"), ("tx", "ingress")):
        entry = find(facts, member, port, direction)
        if entry:
            share = "" if entry["loss"] >= 100 else f"numgen random mod 1000 < {round(entry['loss'] * 10)} "
            chains.append(f'  chain {direction} {{ type filter hook {hook} device "{device}" priority 0; '
                          f"policy accept; {share}counter drop; }}")
    if chains:
        lines += [f"table netdev {table} {{", *chains, "}"]
    return "\n".join(lines) + "\n"


def apply(lab, facts, member, ports):
    """Puts the rules of ports into force, of all in the same instant: a member that loses all its cables loses them at once."""
    rules = "".join(ruleset(facts, member, port) for port in ports)
    done = subprocess.run(lab.enter() + ["nft", "-f", "-"], input=rules, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise LabError(f"nft refused the rules for {member}'s ports: {done.stderr.strip()}")
