"""Statistics of cells: fronts, verdicts, intervals, differences, regret.

Pure functions of the counted runs. May import the contract, `judging`, whose model the
orchestrator shares, `reports.data` and `reports.objectives`. Methods are in docs/statistics.md.
"""
