"""What planning, nodes and report have to agree on: factors, figures, lines, splits, units, plans.

Everything is said here once; nothing here does any work. It imports the standard library and
`paretopipe_runtime.errors` only, and reports and planning import nothing else of the runtime. A new
option that changes what is measured is a row of `factors`, a new figure a row of `measures`.
"""
