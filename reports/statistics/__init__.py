"""Statistics of the report only: fronts, intervals, differences, regret.

May import the contract, `judging`, `reports.data` and `reports.objectives`.
"""
