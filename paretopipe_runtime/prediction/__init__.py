"""Predictions of unmeasured splits and networks, from profiles of blocks and links.

Shared by schedule and report; may import the contract, and the reader of records. `predictor`
combines the others for one cell, `candidates` gives the schedule what it chooses from. Words for a
page are in ``reports/prediction``. See docs/prediction.md.
"""
