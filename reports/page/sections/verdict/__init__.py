"""The first screen: answers in a table and in sentences, and what to know before believing them.

``section`` has ``build``; each other module gives it one kind of sentence.
"""
