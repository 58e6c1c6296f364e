"""The demo: what a cluster is for, shown with real traffic in a minute.

Map: `__main__` the command; `story` one run from start to end; `traffic` the generator's processes; `download` the one through a relay;
`verdict` what a run must have been, and the report.
"""
