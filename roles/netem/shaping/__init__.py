"""What the controller knows of shaping: what may be asked, and whether a host still holds it.

May import the contract and the standard library; planning, actions and filters import it.
"""
