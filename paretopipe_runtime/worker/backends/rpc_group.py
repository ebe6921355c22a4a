"""One run's RPC group: rendezvous, and detection of dead members.

Authenticated connections link neighbours. They carry the rendezvous address and the run's end; one
that closes in between means a dead neighbour.

PyTorch's own rendezvous listens on every address. Here the first member binds the store's socket to
the experiment address, and RPC gets its interface.
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psutil
import torch
from torch import distributed
from torch.distributed import rpc

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType
from paretopipe_runtime.worker.backends.backend import (
    CHAIN_TIMEOUT_S,
    Context,
    links_from_previous,
    links_to_next,
)

Store = Any  # torch.distributed.Store: PyTorch does not export its type
SCHEME = "paretopipe"
THREADS = 4  # they only hand tensors over; nothing computes or waits in them


class Group:
    """This process's membership, from `join` to `finish`.

    `on_end` is called in its own thread when the previous member ends the run.
    """

    def __init__(self, context: Context, on_end: Callable[[], None]) -> None:
        self._context = context
        self._on_end = on_end
        self._finished = threading.Event()
        self._previous: Channel | None = None
        self._next: Channel | None = None

    def join(self) -> None:
        """Link to the neighbours, meet the others, get ready for calls.

        Raises ``E_RPC_BIND``, ``E_RPC_TORCH``, ``E_CHAIN``, or ``E_RPC`` with PyTorch's
        words.
        """
        order = self._context.order
        # PyTorch takes these from the environment only; this process ends with the run.
        interface = interface_of(self._context.node.address)
        os.environ["TP_SOCKET_IFNAME"] = os.environ["GLOO_SOCKET_IFNAME"] = interface
        warnings.filterwarnings("ignore", message="You are using a Backend", module="torch")
        self._start_watch(self._context.control)
        try:
            store, meeting = self._first() if order.is_entry else self._later()
            if order.onward:
                (self._next,) = links_to_next(self._context.node, order)
                self._next.send_message(meeting, timeout=CHAIN_TIMEOUT_S)
            self._start_watch(*(link for link in (self._previous, self._next) if link))
            self._init(store())
        except RuntimeError as error:
            raise explain(error, "meeting the other stages") from error

    def finish(self) -> None:
        """End later members' run; from now on neighbours may leave."""
        self._finished.set()
        if self._next is not None:
            self._next.send(FrameType.END, timeout=self._context.order.io_timeout_s)

    def _first(self) -> tuple[Callable[[], Store], dict[str, Any]]:
        """Open the store on the experiment address; return it and its address."""
        address = self._context.node.address
        with socket.socket() as listener:
            listener.bind((address, 0))
            port = listener.getsockname()[1]
            store = distributed.TCPStore(  # type: ignore[attr-defined]
                address,
                port,
                is_master=True,
                wait_for_workers=False,
                timeout=timedelta(seconds=CHAIN_TIMEOUT_S),
                master_listen_fd=listener.detach(),
            )
        meeting = {"address": address, "port": port, "torch": _torch_release()}
        return lambda: store, meeting

    def _later(self) -> tuple[Callable[[], Store], dict[str, Any]]:
        """Hear from the member before where the store is."""
        (self._previous,) = links_from_previous(self._context.links, self._context.order)
        meeting = self._previous.receive_message(CHAIN_TIMEOUT_S)
        if meeting["torch"] != _torch_release():
            raise ParetoPipeError(
                "E_RPC_TORCH",
                f"torch is {_torch_release()} here and {meeting['torch']} at "
                f"{meeting['address']}: PyTorch RPC needs one version — set the same "
                "runtime_torch_version for both, or use backend=socket",
            )

        def store() -> Store:
            return distributed.TCPStore(  # type: ignore[attr-defined]
                meeting["address"], meeting["port"], timeout=timedelta(seconds=CHAIN_TIMEOUT_S)
            )

        return store, meeting

    def _init(self, store: Store) -> None:
        order = self._context.order
        hubs = 1 if order.backend == "rpc_hub" else 0
        rank, size = order.stage + hubs, order.stages + hubs

        def meet(_url: str, **_options: Any) -> Iterator[tuple[Store, int, int]]:
            yield store, rank, size

        distributed.register_rendezvous_handler(SCHEME, meet)  # type: ignore[attr-defined,no-untyped-call]
        rpc.init_rpc(  # type: ignore[no-untyped-call]
            name_of(order.stage),
            rank=rank,
            world_size=size,
            rpc_backend_options=rpc.TensorPipeRpcBackendOptions(
                num_worker_threads=THREADS,
                rpc_timeout=order.idle_timeout_s,
                init_method=f"{SCHEME}://",
                # Between hosts only these work, and hosts are what is measured.
                _transports=["uv"],
                _channels=["mpt_uv", "basic"],
            ),
        )

    def _start_watch(self, *channels: Channel) -> None:
        threading.Thread(target=self._watch, args=(channels,), daemon=True).start()

    def _watch(self, channels: tuple[Channel, ...]) -> None:
        """Fail at once when a neighbour or the orchestrator is gone."""
        poll = select.poll()
        by_descriptor = {channel.fileno(): channel for channel in channels}
        for descriptor, channel in by_descriptor.items():
            requests_come = channel is self._context.control  # which are not read here
            poll.register(descriptor, select.POLLRDHUP if requests_come else select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                channel = by_descriptor[descriptor]
                if self._finished.is_set():
                    return
                if channel is self._previous and _ends(channel):
                    poll.unregister(descriptor)
                    self._on_end()
                else:
                    self._context.fail(
                        ParetoPipeError(
                            "E_PEER_LOST",
                            f"{channel.peer}: its process or the link to it ended in the middle of "
                            "the run — see `journalctl -u paretopipe-worker` there",
                        )
                    )


def name_of(stage: int) -> str:
    """Name a stage, or the hub, within the group."""
    return f"stage{stage}" if stage >= 0 else "hub"


def interface_of(address: str) -> str:
    """Return the interface whose first address is `address`: RPC listens there only.

    Raises ``E_RPC_BIND`` for none.
    """
    # Every loopback address is reached through the first.
    wanted = "127.0.0.1" if ipaddress.ip_address(address).is_loopback else address
    for name, entries in psutil.net_if_addrs().items():
        first = next((each.address for each in entries if each.family == socket.AF_INET), None)
        if first == wanted:
            return name
    raise ParetoPipeError(
        "E_RPC_BIND",
        f"PyTorch RPC listens on the first address of an interface, and {address} is not the first "
        "of any here — make it so, or use backend=socket",
    )


def explain(error: BaseException, doing: str) -> ParetoPipeError:
    """Translate PyTorch's error to a kind and a one-line reason."""
    lines = str(error).splitlines() or [type(error).__name__]
    # What another process raised has its name in the first line and the error in the second.
    reason = " ".join(lines[:2] if lines[0].startswith("On WorkerInfo") else lines[:1])
    low = reason.lower()
    if "timeout" in low or "timed out" in low:
        return ParetoPipeError(
            "E_STALL", f"{doing}: {reason} — a worker is frozen or the link is dead"
        )
    if any(word in low for word in ("eof", "connection", "broken pipe", "closed")):
        return ParetoPipeError("E_PEER_LOST", f"{doing}: {reason} — did its process end?")
    return ParetoPipeError("E_RPC", f"{doing}: {reason} — backend=socket does without PyTorch RPC")


def _ends(link: Channel) -> bool:
    """Tell the end of the run from the loss of the peer."""
    try:
        return link.receive_header(CHAIN_TIMEOUT_S).type is FrameType.END
    except ParetoPipeError:
        return False


def _torch_release() -> str:
    """Return torch's version without how it was built."""
    return torch.__version__.partition("+")[0]
