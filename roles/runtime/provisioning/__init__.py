"""What provisioning lays down on a host, and whether a host still has all of it.

look.py is sent to hosts and may import Python's own library only. A new fact is a function in its
FACTS; what decides on the controller is in inputs.py.
"""
