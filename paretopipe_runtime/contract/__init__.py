"""Facts shared by planning, nodes and report: factors, figures, record lines, splits, units, plans.

Data and parsing only. May import the standard library and `paretopipe_runtime.errors`. A new option
that changes measurements is a row of `factors`, a new figure a row of `measures`.
"""
