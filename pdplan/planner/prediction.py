"""`predict`: single-pass latencies of many points at once.

Rows that share model, engine and phase are worked out together in arrays.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pdplan.errors import PdplanError
from pdplan.physics.roofline import Floats
from pdplan.planner.points import PREDICT_INPUTS, Point, Reader
from pdplan.planner.serve import SERVE_OUTPUTS, serve
from pdplan.specs.model import ModelSpec
from pdplan.stages.encode import TowerWork, tower_pass
from pdplan.stages.llm import Pass, decode_pass
from pdplan.stages.machine import Machines, machines
from pdplan.stages.memory import cache_bytes_per_sequence, device_memory
from pdplan.stages.prompt import chunked_prefill
from pdplan.stages.transfer import cache_copies, kv_bytes

PREDICT_OUTPUTS = (
    "latency_s", "compute_s", "memory_s", "network_s", "overhead_s", "memory_bytes_per_gpu",
    "kv_capacity_tokens", "fits", "provenance", "error", *SERVE_OUTPUTS,
)  # fmt: skip
GAUSS_NODES, GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(5)

Column = dict[str, Floats]


def predict(
    rows: Sequence[Mapping[str, str]], *, specs_dir: Path | None = None
) -> list[dict[str, object]]:
    """Predict every row; a bad row gets its `error` and does not stop the rest.

    Returns one mapping a row: the input columns, then those of PREDICT_OUTPUTS.
    """
    reader = Reader(specs_dir, {})
    found: list[dict[str, object]] = []
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    points: dict[int, Point] = {}
    for i, row in enumerate(rows):
        out: dict[str, object] = dict.fromkeys((*PREDICT_INPUTS, *PREDICT_OUTPUTS))
        out |= {name: value for name, value in row.items() if name is not None}
        found.append(out)
        try:
            point = reader.point(row)
        except PdplanError as error:
            out["error"] = "; ".join(str(error).splitlines())
            continue
        points[i] = point
        groups[id(point.model), id(point.engine), point.phase].append(i)
    for index in groups.values():
        _fill(found, index, [points[i] for i in index])
    return found


def _fill(found: list[dict[str, object]], index: list[int], points: list[Point]) -> None:
    """Work out one group and write its outputs into its rows."""
    try:
        columns = outputs(points)
    except PdplanError as error:
        if len(points) > 1:
            for i, point in zip(index, points, strict=True):
                _fill(found, [i], [point])
            return
        found[index[0]]["error"] = "; ".join(str(error).splitlines())
        return
    origins = [p.engine.constants(p.hardware.generation, p.shape.hardware)[1] for p in points]
    for name, values in columns.items():
        for i, value in zip(index, values.tolist(), strict=True):
            found[i][name] = bool(value) if name == "fits" else None if value != value else value
    for i, origin in zip(index, origins, strict=True):
        found[i]["provenance"] = origin


def table(points: list[Point]) -> Machines:
    """Instances of the points of one engine, a row each."""
    shapes = sorted({p.shape for p in points}, key=repr)
    hardware = {p.shape.hardware: p.hardware for p in points}
    position = {shape: i for i, shape in enumerate(shapes)}
    found = machines(shapes, hardware, points[0].engine)
    return found.take(np.array([position[p.shape] for p in points]))


def outputs(points: list[Point], *, percentiles: bool = True) -> Column:
    """Every output column of a group [R]; percentiles, which take longest, only where asked."""
    m = table(points)
    model, phase = points[0].model, points[0].phase
    timed: Column
    if phase == "serve":
        timed = serve(model, m, points, percentiles=percentiles)
    elif phase == "transfer":
        timed = _transfer(model, m, points)
    else:
        timed = _timed(passes(model, m, points))
    return timed | _memory(model, m, points)


def column(points: Iterable[Point], name: str, default: float = 0.0) -> Floats:
    """One numeric input of every row [R, 1]."""
    return np.array([p.number(name, default) for p in points], float).reshape(-1, 1)


def passes(model: ModelSpec, m: Machines, points: list[Point]) -> Pass:
    """Passes of points of one model and one phase that is neither `serve` nor `transfer`."""
    phase = points[0].phase
    batch = column(points, "batch", 1.0)
    prefix = column(points, "prefix")
    if phase == "prefill":
        return _prompt(model, m, points, batch, prefix)
    if phase == "decode":
        return decode_pass(
            model, m, sequences=batch, context_tokens=column(points, "context") + prefix
        )
    if phase == "encode":
        return _encode(model, m, points, batch)
    return _static(model, m, points, batch, prefix)


def _static(
    model: ModelSpec, m: Machines, points: list[Point], batch: Floats, prefix: Floats
) -> Pass:
    """A whole batch, in waves where its sequences do not fit into the KV cache together."""
    last = column(points, "isl") + prefix + column(points, "osl")
    memory = device_memory(model, m, pass_tokens=_largest_pass(points, batch))
    one = cache_bytes_per_sequence(model, m, last)
    free = np.maximum(memory.limit - memory.weights - memory.activations, 0.0)
    fit = np.maximum(np.floor(m.dp * free / one), 1.0)
    held = np.minimum(batch, fit)
    waves = np.floor(batch / held)
    rest = batch - waves * held
    full = _wave(model, m, points, held, prefix).times(waves)
    return full.plus(_wave(model, m, points, np.maximum(rest, 1.0), prefix).times(rest > 0))


def _wave(
    model: ModelSpec, m: Machines, points: list[Point], batch: Floats, prefix: Floats
) -> Pass:
    """Prefill of a batch, then all its decode steps, integrated over the growing context."""
    steps = np.maximum(column(points, "osl") - 1, 0.0)
    middle = column(points, "isl") + prefix + (GAUSS_NODES + 1) / 2 * (steps + 1)
    each = decode_pass(model, m, sequences=batch, context_tokens=middle)
    share = GAUSS_WEIGHTS / 2
    decode = Pass(
        *(
            (np.broadcast_to(getattr(each, name), middle.shape) @ share)[:, None] * steps
            for name in Pass.__dataclass_fields__
        )
    )
    return _prompt(model, m, points, batch, prefix).plus(decode)


def _prompt(
    model: ModelSpec, m: Machines, points: list[Point], batch: Floats, prefix: Floats
) -> Pass:
    """Prefill of a row's prompts, host work once per request included."""
    whole = chunked_prefill(
        model,
        m,
        tokens=column(points, "isl"),
        chunk_tokens=points[0].engine.defaults.chunk_tokens,
        prefix_tokens=prefix,
        sequences=batch,
    )
    return whole.delayed(m.request_s)


def _encode(model: ModelSpec, m: Machines, points: list[Point], batch: Floats) -> Pass:
    if model.vision is None:
        message = f"model '{model.name}' has no vision encoder"
        raise PdplanError(message)
    items = []
    for p in points:
        count = max(1, round(p.number("images", 1.0)))
        size = round(p.number("image_width")), round(p.number("image_height"))
        items.append((float(count), model.vision.image_work(*size, count)))
    work = TowerWork.of(items)
    load = TowerWork(*(getattr(work, n)[:, None] * batch for n in TowerWork.__dataclass_fields__))
    images = np.array([each for each, _ in items])[:, None] * batch
    megapixels = column(points, "image_width") * column(points, "image_height") / 1e6
    host = images * (m.encoder_item_s + m.encoder_megapixel_s * megapixels)
    return tower_pass(m, model.vision, load).delayed(host)


def _transfer(model: ModelSpec, m: Machines, points: list[Point]) -> Column:
    """KV of isl tokens, or so many bytes, to an equal instance on another node."""
    if (m.network_bytes_per_s == 0).any():
        names = sorted({p.shape.hardware for p in points if p.hardware.scale_out is None})
        message = f"{', '.join(names)}: no network bandwidth is known"
        raise PdplanError(message)
    moved = transfer_bytes(model, points) / m.network_bytes_per_s
    nothing = np.zeros_like(moved)[:, 0]
    return {
        "latency_s": (moved + m.network_latency_s)[:, 0],
        "compute_s": nothing,
        "memory_s": nothing,
        "network_s": moved[:, 0],
        "overhead_s": (m.network_latency_s + nothing[:, None])[:, 0],
    }


def transfer_bytes(model: ModelSpec, points: list[Point]) -> Floats:
    """Bytes that each transfer moves [R, 1]."""
    size = np.empty((len(points), 1))
    for i, p in enumerate(points):
        copies = float(cache_copies(model, p.shape.tp))
        kv = float(kv_bytes(model, p.shape.kv_dtype, p.number("isl"), 0.0))
        size[i] = p.number("bytes") if "bytes" in p.numbers else kv * copies
    return size


def _timed(whole: Pass) -> Column:
    return {
        "latency_s": whole.total_s[:, 0],
        "compute_s": whole.compute_s[:, 0],
        "memory_s": whole.memory_s[:, 0],
        "network_s": whole.network_s[:, 0],
        "overhead_s": whole.overhead_s[:, 0],
    }


def _largest_pass(points: list[Point], batch: Floats) -> Floats:
    tokens = batch * np.maximum(column(points, "isl"), 1.0)
    return np.minimum(tokens, points[0].engine.defaults.chunk_tokens)


def _memory(model: ModelSpec, m: Machines, points: list[Point]) -> Column:
    """Memory of one accelerator and the KV capacity of the instance, at the row's batch.

    A row fits if its cache does, which may be a share of what is left (`cache_share`).
    """
    phase = points[0].phase
    batch = column(points, "batch", 1.0)
    if phase == "serve":
        batch = column(points, "concurrency", 1.0)
    isl, osl = column(points, "isl"), column(points, "osl", 1.0)
    context = column(points, "context") if phase == "decode" else isl + osl
    context = np.maximum(context + column(points, "prefix"), 1.0)
    largest = _largest_pass(points, batch)
    encoding = phase == "encode"
    memory = device_memory(model, m, pass_tokens=largest, language=not encoding, towers=encoding)
    one = cache_bytes_per_sequence(model, m, context)
    held = np.zeros_like(one) if encoding else batch / m.dp * one
    used = memory.weights + memory.activations + memory.reserve
    capacity = (
        np.zeros_like(one) if encoding else m.dp * np.maximum(memory.cache, 0) / one * context
    )
    return {
        "memory_bytes_per_gpu": (used + held)[:, 0],
        "kv_capacity_tokens": np.broadcast_to(capacity, one.shape)[:, 0],
        "fits": np.broadcast_to(held <= memory.cache, one.shape)[:, 0].astype(float),
    }
