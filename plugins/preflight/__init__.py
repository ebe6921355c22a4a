"""From what hosts are to what speaks against a sweep on them; plugins/action/judge_hosts.py."""
