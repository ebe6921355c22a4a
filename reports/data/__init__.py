"""From record files to cells: what was measured, and which of it counts."""
