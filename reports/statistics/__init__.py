"""Statistics of cells: fronts, verdicts, intervals, differences, and how sure they are.

Pure functions of the counted runs, on any list of objectives; imports data and ``judging``, whose
model the orchestrator's schedule shares. Its method is in docs/statistics.md.
"""
