"""What was not measured, predicted from blocks and links that were: every split, any network.

``wire`` knows packets and TCP, ``compute`` and ``transport`` turn profiles and link measurements
into coefficients, ``pipeline`` lets batches flow through stages and hops, ``predictor`` puts these
together for one cell, ``errors`` holds it against what was measured, ``best`` asks it where to
split. All numbers, no words of a page: those are in ``page/sections/whatif.py``, and
``page/sections/whatif.js`` has the same arithmetic. See docs/prediction.md.
"""
