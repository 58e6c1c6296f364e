"""The lab: members as real processes in network namespaces, bridges as switches, faults on demand.

Map: `cli` the commands; `holder` the process that everything lives in; `state` what a lab is, on disk; `topology` bridges,
members' ports, hosts; `config` a member's TOML; `members` starting, stopping and watching members; `links` cuts and loss;
`product` all that is known of the binary's command line; `uml` hosts with a kernel of their own.
"""
