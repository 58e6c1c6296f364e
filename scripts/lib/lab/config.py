"""A member's configuration file: what the lab needs, with the user's overrides merged in.

Overrides (`lab up --config FILE`) are TOML. Tables merge key by key; [[port]] entries merge by their `name`, and new ones are
added; other arrays of tables are appended; anything else replaces. `${name}` and `${id}` in strings stand for the member.
"""

import copy
import json
import re
import tomllib

from .state import LabError
from .topology import CLUSTER_HOST, LINK_PREFIX, SIDES, member_host


def base(lab, facts, name, number):
    """The lab's own configuration of a member, before overrides."""
    host = member_host(number)
    ports = []
    for index, (side, interface) in enumerate((("outside", "o"), ("inside", "i"))):
        four, six = SIDES[side]
        ports.append({
            "name": f"{side}0",
            "device": f"net_af_packet{index},iface={interface}",
            "role": side,
            "mtu": 1500,
            "cluster_addresses": [f"{four}{CLUSTER_HOST}/24", f"{six}{CLUSTER_HOST}/64"],
            "unit_addresses": [f"{four}{host}/24", f"{six}{host}/64"],
            "queues": 1,
        })
    # Neither way leaves files: --in-memory frees its pages with the process, and --no-huge (which refuses --in-memory)
    # keeps its shared configuration to itself with --no-shconf.
    memory = ["--in-memory", "-m", "48"] if facts["hugepages"] else ["--no-huge", "--no-shconf", "-m", "128"]
    return {
        "cluster": {
            "name": f"lab-{facts['name']}", "number": 1, "config_version": 1, "mode": facts["mode"], "scheme": "steered",
            "quorum": facts["quorum"], "period_ms": facts["period_ms"], "losses_min": facts["losses_min"],
        },
        "member": {"name": name, "id": number, "identity": lab.path("ca", f"{name}.pem"),
                   "state_dir": lab.path(name, "state")},
        "link": {"interface": "c", "address": f"{LINK_PREFIX}{host}:7400", "group": "239.80.72.1:7400"},
        "port": ports,
        "workers": {"cores": [], "idle": "interrupt", "realtime": 10},
        "cluster_thread": {"realtime": 20},
        "eal": {"args": ["--no-pci", "--no-telemetry", *memory]},
        "management": {"listen": "127.0.0.1:9464", "socket": lab.path(name, "ctl.sock")},
        "log": {"format": "json", "level": "info"},
    }


def read_overrides(path):
    """Parses the user's file."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as problem:
        raise LabError(f"cannot read {path}: {problem.strerror}") from None
    except tomllib.TOMLDecodeError as problem:
        raise LabError(f"{path} is not TOML: {problem}") from None


def merge(into, extra):
    """Merges overrides into a configuration, as the head of this file says."""
    for key, value in extra.items():
        old = into.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            merge(old, value)
        elif key == "port" and isinstance(value, list) and isinstance(old, list):
            for port in value:
                same = next((p for p in old if p.get("name") == port.get("name")), None)
                if same is None:
                    old.append(copy.deepcopy(port))
                else:
                    merge(same, port)
        elif isinstance(old, list) and is_tables(value):
            old.extend(copy.deepcopy(value))
        else:
            into[key] = copy.deepcopy(value)
    return into


def fill(value, words):
    """Replaces ${name} and ${id} in all strings."""
    if isinstance(value, dict):
        return {key: fill(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, words) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda m: str(words.get(m[1], m[0])), value)
    return value


def is_tables(value):
    """Whether a value is written as [[array of tables]]."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def dump(table, path=()):
    """Writes a table as TOML: plain keys first, then sub-tables under their full names."""
    lines = []
    for key, value in table.items():
        if not isinstance(value, dict) and not is_tables(value):
            lines.append(f"{write_key(key)} = {write_value(value)}")
    for key, value in table.items():
        name = ".".join(write_key(part) for part in (*path, key))
        if isinstance(value, dict):
            lines += ["", f"[{name}]", dump(value, (*path, key))]
        elif is_tables(value):
            for item in value:
                lines += ["", f"[[{name}]]", dump(item, (*path, key))]
    return "\n".join(lines)


def write_key(key):
    """A key, quoted if it must be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def write_value(value):
    """A value in TOML. Strings of JSON are strings of TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{write_key(k)} = {write_value(v)}" for k, v in value.items()) + " }"
    return str(value)


def member_config(lab, facts, name, number):
    """The text of a member's configuration file."""
    configuration = merge(base(lab, facts, name, number), facts["overrides"])
    head = "# Written by scripts/lab; overwritten when the member starts.\n"
    return head + dump(fill(configuration, {"name": name, "id": number})).lstrip("\n") + "\n"
