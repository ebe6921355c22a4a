"""From record files to cells: what was measured, and which of it counts.

May import the contract and `reports`' top-level modules, nothing that renders.
"""
