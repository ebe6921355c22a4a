"""Facts that decide whether a host is still as provisioned.

look.py runs on hosts and imports the standard library only; a new fact is a function in its
FACTS. inputs.py has the controller's part.
"""
