"""The statistics of a decision: the round model of a cell's runs, and who is on the front.

Needs numpy and nothing of the project, for both the orchestrator's schedule and the report decide
by it. A statistic that only the report shows goes to ``reports/statistics``.
"""
