"""Communication backends, which carry batches between a run's stages.

`backend` has the interface. A new one is a module with ``connect(context: Context) -> Ends`` and a
row in `worker.node.BACKENDS`. None imports another; only the rpc modules import torch.distributed.
"""
