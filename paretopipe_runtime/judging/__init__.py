"""Decisions on a cell's splits: the round model and membership of the Pareto front.

Shared by schedule and report; may import numpy only. A statistic for the report alone goes to
``reports/statistics``.
"""
