"""From record files to cells: what was measured, and which of it counts.

Imports the contract, whose figures and factors it reads by its tables: a new one needs nothing
here. A new kind of record line is a row in ``records``; a rule on what counts goes to
``selection``.
"""
