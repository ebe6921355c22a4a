"""Communication backends: what carries batches between the stages of a run.

`backend` has the interface and what they share. A new one is a module here with a function
``connect(context: Context) -> Ends`` and a row in `worker.node.BACKENDS`. None imports another, and
only the rpc modules import torch.distributed.
"""
