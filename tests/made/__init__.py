"""Synthetic plans, records and what a report reads them into, for the tests of every part.

`plans` and the records of `runs` and `samples` make up a `sweep` on disk; `known`, `worlds` and
`pi4b` are sweeps whose numbers are known, `figures` what is read of one, without any records.
"""
