"""The benchmark: what the data plane costs beside the limit, PyTorch RPC and pickle.

Not part of the product: never in the runtime's wheel, laid on the nodes by the role `bench` for as
long as it runs, because it unpickles what a peer sends (the method that it compares with). Peers
prove the cluster's key first, as everywhere.

`settings.yml` says what is measured. On each node `node` runs an agent with two more backends
(`pickle_backend`, `alone_backend`) and a transport peer (`peer`, `transport`). On the orchestrator
`runner` drives both and writes JSON, which `tables` makes into the text.
"""
