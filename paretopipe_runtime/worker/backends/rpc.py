"""The RPC backends: PyTorch RPC (TensorPipe) behind the common interface.

``rpc``
    stage i calls stage i+1 with its output;
``rpc_hub``
    the paper's way: a process on the orchestrator's host calls one stage after the other.

PyTorch RPC unpickles whatever reaches it, so it is off unless the node allows it.
"""

from __future__ import annotations

import torch

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.worker.backends.backend import Context, Ends
from paretopipe_runtime.worker.node import Node


def connect(context: Context) -> Ends:
    """Join the run's RPC group, or raise ``E_RPC_OFF`` or ``E_RPC_UNAVAILABLE``."""
    _check_allowed(context.node)
    # Not before it is allowed: a torch without RPC lacks what these files need.
    from paretopipe_runtime.worker.backends import rpc_chain, rpc_hub

    if context.order.backend == "rpc":
        return rpc_chain.connect(context)
    return rpc_hub.connect_hub(context) if context.order.is_hub else rpc_hub.connect_stage(context)


def _check_allowed(node: Node) -> None:
    if not node.allow_insecure_rpc:
        raise ParetoPipeError(
            "E_RPC_OFF",
            "PyTorch RPC is off here: it has no authentication, so any host that reaches "
            f"{node.address} could run code — if only your own hosts do, run "
            "playbooks/provision.yml -e allow_insecure_rpc=true",
        )
    if not (torch.distributed.is_available() and torch.distributed.rpc.is_available()):
        raise ParetoPipeError(
            "E_RPC_UNAVAILABLE", "this torch was built without RPC — use backend=socket"
        )
