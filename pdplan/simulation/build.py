"""From hardware, model and lengths to the laws and prompts that a simulation runs on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pdplan.errors import UnfitError
from pdplan.simulation.model import Laws, LinkModel
from pdplan.simulation.request import Prompt
from pdplan.simulation.tables import cache_law, pass_law, step_law
from pdplan.specs.model import ModelSpec
from pdplan.specs.speculation import Speculation
from pdplan.stages.encode import MediaWork, encode_times
from pdplan.stages.machine import Machines
from pdplan.stages.memory import cache_bytes_per_sequence, device_memory
from pdplan.stages.prompt import PromptTimes, prompt_times
from pdplan.stages.speculation import draft_bytes, draft_model, within_a_step
from pdplan.stages.transfer import cache_copies, embedding_bytes, kv_bytes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """How the instances of one pool are built; `machine` is a single row."""

    name: str
    stages: str
    machine: Machines
    chunk_tokens: int
    largest_batch: int
    kv_dtype: str
    together: int = 1
    """Instances of an encode pool that share the media of one request."""

    def number(self, name: str) -> float:
        """One number of the machine."""
        return float(getattr(self.machine, name)[0, 0])


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """What all pools of a lane have in common."""

    model: ModelSpec
    speculation: Speculation | None
    running_cross_tokens: float = 0.0
    """Encoder positions that a running request sees on average."""
    prompt_cross_tokens: float = 0.0
    """The same of an arriving one."""
    positions: float = 0.0
    """Most patches that a request runs through an encoder at once."""

    @property
    def draft(self) -> ModelSpec | None:
        """What drafts tokens, if that takes a model."""
        return draft_model(self.model, self.speculation)


def laws(kind: Kind, serving: Serving) -> Laws:
    """Tabulate the laws of one pool's instances; memory is divided as the planner does."""
    model, m, draft = serving.model, kind.machine, serving.draft
    dp = round(kind.number("dp"))
    if kind.stages == "E":
        return Laws(groups=dp)
    width = serving.speculation.draft_tokens + 1 if serving.speculation else 1
    decodes = "D" in kind.stages
    longest = float(kind.chunk_tokens) if "P" in kind.stages else 0.0
    memory = device_memory(
        model,
        m,
        pass_tokens=max(longest, kind.largest_batch * width if decodes else 0),
        towers="E" in kind.stages,
        draft_bytes=draft_bytes(model, m, serving.speculation),
    )
    step = None
    if decodes:
        step = step_law(
            model,
            m,
            largest_batch=kind.largest_batch,
            speculation=serving.speculation,
            cross_tokens=serving.running_cross_tokens,
        )
    return Laws(
        step=step,
        passes=pass_law(
            model,
            m,
            most_tokens=float(kind.chunk_tokens * dp),
            draft=draft,
            cross_tokens=serving.prompt_cross_tokens,
        ),
        cache=cache_law(model, m, draft),
        capacity_bytes=max(float(memory.cache[0, 0]), 0.0) * dp,
        chunk_tokens=float(kind.chunk_tokens),
        groups=dp,
        pipeline=round(kind.number("pp")),
    )


def hops(kinds: Sequence[Kind], serving: Serving) -> tuple[LinkModel, ...]:
    """Links between the pools of a lane; raises UnfitError where an end has no network."""
    found = []
    for source, target in pairwise(kinds):
        for end in (source, target):
            if end.number("network_bytes_per_s") <= 0:
                message = f"pool '{end.name}': has no network, which its placement needs"
                raise UnfitError(message)
        bandwidths = [end.number("network_bytes_per_s") for end in (source, target)]
        found.append(
            LinkModel(
                sender_share=min(bandwidths) / bandwidths[0],
                receiver_share=min(bandwidths) / bandwidths[1],
                latency_s=max(end.number("network_latency_s") for end in (source, target)),
                layers=serving.model.layers,
                layerwise="P" in source.stages and source.number("network_layerwise") > 0,
            )
        )
    return tuple(found)


def prompts(
    kinds: Sequence[Kind],
    serving: Serving,
    *,
    tokens: Floats,
    new_tokens: Floats,
    media: MediaWork,
    request_class: NDArray[np.int_],
    images: Floats,
) -> list[Prompt]:
    """Describe prompts [S] as the pools of a lane meet them."""
    size = len(tokens)
    columns = {name: np.zeros(size) for name in ("host_s", "encode_s", "ride_s", "layered_s")}
    columns |= {"embedding_wire_s": np.zeros(size), "kv_wire_s": np.zeros(size)}
    for kind in kinds:
        if "E" in kind.stages and media.any:
            times = encode_times(serving.model, kind.machine, media)
            shape = (1, size)
            columns["encode_s"] = np.broadcast_to(times.device_s, shape)[0]
            columns["encode_fixed_s"] = np.broadcast_to(times.fixed_s, shape)[0]
            prepared = np.maximum(media.items + media.frames, 1.0)
            share = np.ceil(prepared / kind.together - 1e-9) / prepared
            columns["host_s"] = np.broadcast_to(times.host_s * share, shape)[0]
        if "P" in kind.stages and "D" in kind.stages:
            columns["ride_s"], columns["layered_s"] = _rides(
                kind, serving, tokens, new_tokens, media.cross_tokens
            )
    for source, target in pairwise(kinds):
        slower = min(end.number("network_bytes_per_s") for end in (source, target))
        if source.stages == "E":
            moved = embedding_bytes(serving.model, media.llm_tokens, media.cross_tokens)
            columns["embedding_wire_s"] = moved / slower
        else:
            copies = float(cache_copies(serving.model, source.number("tp")))
            held = _sent_bytes(source, serving, tokens, media.cross_tokens)
            columns["kv_wire_s"] = held * copies / slower
    last = kinds[-1].machine
    kept = cache_bytes_per_sequence(serving.model, last, 0.0, media.cross_tokens)
    none = cache_bytes_per_sequence(serving.model, last, 0.0)
    columns["cross_bytes"] = np.broadcast_to(kept - none, (1, size))[0]
    listed = {name: np.asarray(values, float).tolist() for name, values in columns.items()}
    present, count = media.present.tolist(), images.tolist()
    pieces = np.maximum(media.pieces, 1).round().astype(int).tolist()
    return [
        Prompt(
            tokens=float(tokens[i]),
            new=float(new_tokens[i]),
            request_class=int(request_class[i]),
            images=round(count[i]),
            media=present[i],
            pieces=pieces[i],
            **{name: values[i] for name, values in listed.items()},
        )
        for i in range(size)
    ]


def _sent_bytes(source: Kind, serving: Serving, tokens: Floats, cross: Floats) -> Floats:
    """Cache of prompts as sent, a draft model's beside it."""
    held = kv_bytes(serving.model, source.kv_dtype, tokens, cross)
    if serving.draft is not None:
        held = held + kv_bytes(serving.draft, source.kv_dtype, tokens, 0.0)
    return held


def _rides(
    kind: Kind, serving: Serving, tokens: Floats, new: Floats, cross: Floats
) -> tuple[Floats, Floats]:
    """What prompts add to decode steps: in chunks, and whole through groups of layers."""
    cached, draft = tokens - new, serving.draft
    quiet = within_a_step(kind.machine)

    def timed(chunk: int | Floats) -> Floats:
        times: PromptTimes = prompt_times(
            serving.model,
            kind.machine,
            tokens=new,
            chunk_tokens=chunk,
            prefix_tokens=cached,
            cross_tokens=cross,
        )
        if draft is not None:
            times = times.plus(
                prompt_times(draft, quiet, tokens=new, chunk_tokens=chunk, prefix_tokens=cached)
            )
        return np.asarray(np.broadcast_to(times.riding_s, (1, len(new)))[0])

    return timed(kind.chunk_tokens), timed(np.maximum(new, kind.chunk_tokens))
