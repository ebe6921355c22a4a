"""From what the user typed to the plans that the runtime reads; action_plugins/plan_cells.py.

May import the contract and what netem can be asked. A new option is a name in values.py, what it
may be in choice.py, and a key of the plan in cells.py.
"""
