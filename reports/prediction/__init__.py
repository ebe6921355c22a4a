"""Predictions of unmeasured splits and networks, from profiles of blocks and links.

``predictor`` combines the others for one cell; ``errors`` compares it with measurements, ``best``
searches it. No words: those are in ``page/sections/whatif.py``, and ``page/sections/whatif.js``
repeats the arithmetic. See docs/prediction.md.
"""
