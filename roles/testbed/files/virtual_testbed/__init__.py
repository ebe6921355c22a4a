"""A testbed on one machine: two Pis, a server and the link between them, all virtual.

Only the standard library and Debian's own tools are used, so that any Python >= 3.11 can run it.
"""
