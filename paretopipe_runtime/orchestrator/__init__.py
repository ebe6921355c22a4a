"""Measurement on the orchestrator's host: prepare models, drive runs, judge and record them.

`loop` measures a plan's `Work`; a new kind of measurement is a module like `cell` or
`profile_link`. `rounds` and `adaptive` choose the next run; `forecast`, `pace` and `progress`
estimate time.
May import contract, judging, prediction, wire and a worker's `order`; torch only in forked
children.
"""
