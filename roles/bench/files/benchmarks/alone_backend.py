"""Backend that measures the stages without payload, for the limit.

Every stage computes on resident inputs, the tensors that its predecessor would have sent; only
headers cross the link. Runs are proved, but end as ``invalid:bytes_mismatch``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from paretopipe_runtime import golden, weights
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType
from paretopipe_runtime.worker.backends.backend import (
    Batch,
    Context,
    Ends,
    ResidentSource,
    Sink,
    TensorSink,
    link_from_previous,
    link_to_next,
    nothing,
    requests,
)


def connect(context: Context) -> Ends:
    order = context.order
    if order.next_stage is None:
        sink: Sink = TensorSink(
            context.control,
            order.gives,
            layout=context.layout,
            io_timeout_s=order.io_timeout_s,
            fail=context.fail,
        )
    else:
        sink = HeaderSink(link_to_next(context.node, order), order.io_timeout_s)
    if order.stage == 0:
        resident = ResidentSource(context)
        return Ends(resident, sink, resident.input_digest)
    link = link_from_previous(context.links, order)
    return Ends(HeaderSource(link, boundary_tensors(context), order.idle_timeout_s), sink)


def boundary_tensors(context: Context) -> list[torch.Tensor]:
    """Return the output of the earlier stages for the input batches."""
    order = context.order
    inputs = golden.input_batches(
        order.takes.shape[0], order.image_px, order.input_batches, order.input_seed
    )
    manifest = WeightsManifest.from_json(order.manifest)
    before = weights.load_stage(
        order.model, order.classes, manifest, context.node.store, 0, order.first
    )
    with torch.inference_mode():
        tensors = [before(torch.from_numpy(array)) for array in inputs]
    if context.layout == "channels_last" and tensors[0].dim() == 4:
        tensors = [tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors]
    return tensors


class HeaderSource:
    """Resident batches of a later stage, selected by the headers received."""

    payload_received = 0

    def __init__(self, link: Channel, tensors: list[torch.Tensor], idle_timeout_s: float) -> None:
        self._batch_ids = requests(link, idle_timeout_s)
        self._tensors = tensors

    def __iter__(self) -> Iterator[Batch]:
        for batch_id in self._batch_ids:
            # A stage's first block may work in place: the resident tensor must stay as it is.
            tensor = self._tensors[batch_id % len(self._tensors)].clone()
            yield Batch(batch_id, tensor, 0.0, nothing)


class HeaderSink:
    """Sink that drops the output and sends its header."""

    payload_sent = 0

    def __init__(self, link: Channel, io_timeout_s: float) -> None:
        self._link = link
        self._io_timeout_s = io_timeout_s

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        del output
        batch.release()
        self._link.send(FrameType.REQUEST, batch_id=batch.batch_id, timeout=self._io_timeout_s)

    def finish(self) -> None:
        self._link.send(FrameType.END, timeout=self._io_timeout_s)
