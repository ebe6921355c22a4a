"""Judge hosts' facts before a sweep, for action_plugins/judge_hosts.py.

A check is a function from `Host` and `Asked` to a `Verdict`, listed in `judge`. May import this
package and the standard library; facts come from library/look_at_host.py.
"""
