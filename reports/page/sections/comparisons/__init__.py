"""Cells set beside each other that differ in one factor only: which, how much, and in which words.

``section`` has ``build``; what a factor compares is a row in ``compare``.
"""
