"""Measures on the orchestrator's host: prepares models, drives runs, judges and records them.

`loop` measures the `Work` of a plan: `cell` makes a cell's, `profile_blocks` and `profile_link` a
profile's; a new kind of measurement is a module like these. `rounds` and `adaptive` say which run
comes next, from the records alone. `forecast`, `pace` and `progress` say how long it takes.
It imports contract, judging, wire and a worker's `order`; torch only in forked children.
"""
