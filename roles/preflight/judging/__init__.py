"""From what hosts are to what speaks against a sweep on them; action_plugins/judge_hosts.py."""
