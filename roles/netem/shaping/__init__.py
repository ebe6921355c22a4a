"""What the controller knows of shaping: what may be asked, and whether a host still holds it.

May import the standard library only; planning, actions and filters import it.
"""
