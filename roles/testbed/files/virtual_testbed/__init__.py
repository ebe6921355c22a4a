"""A testbed on one machine: two Pis, a server and the link between them, all virtual.

Standard library and Debian's tools only, to run on any Python >= 3.11.
"""
