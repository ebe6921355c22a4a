"""From what the user typed to the plans that the runtime reads; action_plugins/plan_cells.py."""
