"""The first screen: answers, and caveats.

``section`` has ``build``; other modules each give one kind of sentence.
"""
