"""The blocks as one trainable network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.images import MEAN, STD
from paretopipe_runtime.models import build_blocks

_UNUSED = "AuxLogits."  # InceptionV3's auxiliary head is in the file and in no block


class Network(nn.Sequential):
    """The blocks without auxiliary heads; tensors are named ``block.tensor``, as in torchvision."""

    def __init__(self, model: str, classes: int) -> None:
        blocks = build_blocks(model, classes, device="cpu")
        super().__init__(*(module for _, module in blocks))
        self.model = model
        self.block_names = tuple(name for name, _ in blocks)
        self.requires_grad_(True)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return every parameter and buffer by name, not copied."""
        return {
            f"{block}.{name}": tensor
            for block, module in zip(self.block_names, self, strict=True)
            for name, tensor in module.state_dict(keep_vars=True).items()
        }

    @torch.no_grad()
    def fill(self, values: Mapping[str, torch.Tensor]) -> None:
        """Copy values into the tensors of these names."""
        own = self.tensors()
        for name, value in values.items():
            own[name].copy_(value)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Fill with torchvision's random initialisation, repeatable by seed."""
        source = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu", generator=source
                )
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01, generator=source)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def start_from(self, base: Mapping[str, torch.Tensor]) -> None:
        """Take a state dict's values, except for a last layer of another size.

        Raises ``E_PRETRAINED`` for another model's.
        """
        own = self.tensors()
        last = next(name for name in reversed(own) if own[name].dim() > 1).rpartition(".")[0]
        wrong = [
            f"{name} is {list(base[name].shape)}, expected {list(tensor.shape)}"
            for name, tensor in own.items()
            if name in base and base[name].shape != tensor.shape and name.rpartition(".")[0] != last
        ]
        # Old files lack batch normalisation's counters, which evaluation does not use.
        lacking = own.keys() - base.keys()
        wrong += [f"{n} is missing" for n in sorted(lacking) if not n.endswith("batches_tracked")]
        surplus = (name for name in base.keys() - own.keys() if not name.startswith(_UNUSED))
        wrong += [f"{name} belongs to no block" for name in sorted(surplus)]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise ParetoPipeError(
                "E_PRETRAINED",
                f"the weights are not {self.model}'s: {'; '.join(wrong[:3])}{more} — give "
                "torchvision's state dict of that model",
            )
        fits = {n: base[n] for n, t in own.items() if n in base and base[n].shape == t.shape}
        self.fill(_normalised(fits) if self.model == "inceptionv3" else fits)


def _normalised(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Fold InceptionV3's normalisation into its first layer; exact, as that layer has no padding.

    The weights expect (p - 0.5) / 0.5 of a pixel p, which torchvision's whole model computes, and
    get x = (p - mean) / std, hence a x + b with a = std / 0.5 and b = (mean - 0.5) / 0.5. The
    convolution takes a, the running mean takes b.
    """
    weight, mean = (f"Conv2d_1a_3x3.{name}" for name in ("conv.weight", "bn.running_mean"))
    added = values[weight] * ((MEAN - 0.5) / 0.5)
    return {
        **values,
        weight: values[weight] * (STD / 0.5),
        mean: values[mean] - added.sum((1, 2, 3)),
    }
