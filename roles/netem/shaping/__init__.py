"""The controller's side of shaping: allowed conditions, and guards over shaped hosts.

Imports the contract and the standard library; planning, actions and filters import it.
"""
