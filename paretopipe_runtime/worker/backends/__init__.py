"""Communication backends: what carries batches between the stages of a run.

`backend` has what each of them implements, and what they share; a new one is a module here with a
function ``connect(context: Context) -> Ends``, and a row in `worker.node.BACKENDS`. None imports
another, and torch.distributed is imported by the rpc modules alone.
"""
