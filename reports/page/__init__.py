"""The HTML pages of a report.

``render`` makes every page, ``index`` the one above them, ``draw`` charts, and ``sections`` one
subject each, from a ``sheet``; ``figures`` and ``tables`` are shared. Imports data,
statistics and prediction.
"""
