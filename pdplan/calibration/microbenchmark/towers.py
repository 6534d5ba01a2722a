"""Vision towers of random weights through PyTorch, launched one kernel at a time as engines do."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from types import ModuleType
from typing import Any

from pdplan.calibration.microbenchmark.cases import Case
from pdplan.calibration.microbenchmark.operators import random
from pdplan.calibration.microbenchmark.timing import Work
from pdplan.specs.encoder import VisionEncoder
from pdplan.specs.model import load_model
from pdplan.specs.tokens import EncoderWork

Tensor = Any
DISTINCT = 8
"""Layers with weights of their own, enough that no cache holds the next one's."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one layer, [outputs, inputs] or transposed where a residual is added."""

    qkv: Tensor
    out: Tensor
    up: Tensor
    down: Tensor


def encoder(torch: ModuleType, case: Case, specs_dir: Path | None = None) -> Work:
    """Forward passes of a model's tower and projector over some images."""
    tower = load_model(case.model, specs_dir).vision
    assert tower is not None
    images, width, height = (case.sizes[name] for name in ("images", "width", "height"))
    work = tower.image_work(width, height, images)
    segment = ceil(work.segment / work.window) * work.window
    segments = images * work.positions // work.segment
    x = random(torch, case.dtype, segments * segment, tower.hidden)
    layers = [_layer(torch, case.dtype, tower) for _ in range(min(DISTINCT, tower.run_layers))]
    inputs = max(tower.projector_parameters // tower.output_width, 1)
    merged = random(torch, case.dtype, images * work.projector_positions, inputs)
    projector = random(torch, case.dtype, tower.output_width, inputs)

    def call(_: int) -> object:
        _forward(torch, tower, layers, x, (segment, work))
        return torch.nn.functional.linear(merged, projector)

    return Work(call, captured=False)


def _layer(torch: ModuleType, dtype: str, tower: VisionEncoder) -> _Layer:
    hidden, inner, wide = tower.hidden, tower.heads * tower.head_dim, tower.mlp_width
    return _Layer(
        qkv=random(torch, dtype, 3 * inner, hidden),
        out=random(torch, dtype, inner, hidden),
        up=random(torch, dtype, wide * (2 if tower.gated else 1), hidden),
        down=random(torch, dtype, wide, hidden),
    )


def _forward(
    torch: ModuleType,
    tower: VisionEncoder,
    layers: list[_Layer],
    x: Tensor,
    seen: tuple[int, EncoderWork],
) -> Tensor:
    """Norm, attention, norm, perceptron; a scaling in place stands for the rotation.

    Values mean nothing; shapes, traffic and order of the kernels are those of a tower.
    """
    f, (segment, work) = torch.nn.functional, seen
    full = tower.full_attention_layers
    full = tower.run_layers if full is None else full
    inner = tower.heads * tower.head_dim
    for i in range(tower.run_layers):
        layer = layers[i % len(layers)]
        length = segment if i < full else work.window
        mixed = f.linear(f.layer_norm(x, (tower.hidden,)), layer.qkv)
        mixed.narrow(1, 0, 2 * inner).mul_(0.5)
        parts = mixed.view(-1, length, 3, tower.heads, tower.head_dim).unbind(2)
        heads = f.scaled_dot_product_attention(*(part.transpose(1, 2) for part in parts))
        x = torch.addmm(x, heads.transpose(1, 2).reshape(-1, inner), layer.out)
        wide = f.linear(f.layer_norm(x, (tower.hidden,)), layer.up)
        if tower.gated:
            gate, up = wide.chunk(2, -1)
            wide = f.silu(gate).mul_(up)
        else:
            wide = f.gelu(wide)
        x = torch.addmm(x, wide, layer.down)
    return x
