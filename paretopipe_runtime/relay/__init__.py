"""User-space traffic control on loopback: delay and rate limit of one host's uplink.

Standard library only: it must start in a tenth of a second, and shares the measured processors.
"""
