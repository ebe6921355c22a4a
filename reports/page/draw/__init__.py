"""Charts as inline SVG.

Imports data, statistics and ``figures``; no sections, no templates. A chart of one
section alone lives in that section's folder.
"""
