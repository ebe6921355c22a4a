"""Turn the user's options into the runtime's plans, for action_plugins/.

May import the contract and the netem role's conditions. A new option has its name in values.py,
its check in choice.py, its plan key in cells.py.
"""
