"""From record files to cells: what was measured, and which of it counts.

May import the contract, whose tables give figures and factors, and `reports`' top-level modules,
nothing that renders. A new kind of record line is a method of ``records``; a rule on what counts
goes to ``selection``.
"""
