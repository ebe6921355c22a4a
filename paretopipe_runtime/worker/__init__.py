"""A worker: the agent (a service), its fork server, and one stage process a run.

`order` says what a stage is, `node` where it runs, `stage` does it with one of `backends`, on one
of `devices`, metered by `usage`. Agent and fork server import no torch of their own, and nothing
here imports the orchestrator. A new backend, device or meter is a module in its folder.
"""
