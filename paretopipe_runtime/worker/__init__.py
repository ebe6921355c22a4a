"""A worker: the agent (a service), its fork server, and one stage process a run.

`order` defines a stage, `node` its host; `stage` runs it with one of `backends` on one of
`devices`, metered by `usage`. Agent and fork server import no torch of their own, and nothing
imports the orchestrator. A new backend, device or meter is a module in its folder.
"""
