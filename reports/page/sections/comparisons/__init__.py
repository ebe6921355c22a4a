"""Comparisons of cells that differ in one factor.

``section`` has ``build``; a new factor is a row in ``compare``.
"""
