"""From what hosts are to what speaks against a sweep on them; action_plugins/judge_hosts.py.

May import itself only. A new check is a function that returns a Finding, in the list of judge.py.
"""
