"""From what the user typed to the plans that the runtime reads; plugins/action/plan_cells.py."""
