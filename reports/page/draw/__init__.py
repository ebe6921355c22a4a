"""Charts as inline SVG: what draws, and knows neither sections nor templates.

Imports data, statistics and the page's words for figures and verdicts. A chart that one section
alone shows lives in that section's folder.
"""
