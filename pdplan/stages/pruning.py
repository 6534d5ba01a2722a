"""A model with layers left out, and a cache of which only the ends of a prompt were sent.

Layers of one kind are alike, so that only their number counts; of models with several kinds each
gives up its share, and more layers left out always include fewer (Sainte-Lague's rule of divisors,
which is house-monotone), as decode leaves out all that prefill does.
"""

from collections.abc import Sequence
from functools import lru_cache

from numpy.typing import ArrayLike

from pdplan.errors import SpecError, UnfitError
from pdplan.physics.roofline import Floats
from pdplan.specs.model import AttentionLayers, ModelSpec
from pdplan.specs.options.prune import Prune, how_many
from pdplan.stages.transfer import kv_bytes

UNBOUNDED = ("full", "latent")
"""Kinds whose cache has every token: those that can be trimmed."""


@lru_cache(maxsize=64)
def with_layers_removed(model: ModelSpec, count: int) -> ModelSpec:
    """Leave layers out, of every kind its share; the embedding and the head stay.

    >>> from pdplan.specs.model import load_model
    >>> part = with_layers_removed(load_model("gemma-3-27b"), 12)
    >>> part.layers, [(group.kind, group.layers) for group in part.attention]
    (50, [('full', 8), ('window', 42)])
    """
    if count == 0:
        return model
    if count >= model.layers:
        message = f"options.prune: {count} layers left out; model '{model.name}' has {model.layers}"
        raise SpecError(message)
    kept = _less([group.layers for group in model.attention], count)
    parts = (model.ffn, model.moe)
    widths = _less([part.layers if part is not None else 0 for part in parts], count)
    ffn, moe = (
        part.model_copy(update={"layers": n}) if part is not None and n else None
        for part, n in zip(parts, widths, strict=True)
    )
    attention = tuple(
        group.model_copy(update={"layers": n})
        for group, n in zip(model.attention, kept, strict=True)
        if n
    )
    return _changed(model, layers=model.layers - count, attention=attention, ffn=ffn, moe=moe)


def with_trimmed_cache(model: ModelSpec, layers: int, tokens: float) -> ModelSpec:
    """Let some of the layers that see everything have `tokens` of a sequence at most.

    Raises SpecError where there are not as many of them.
    """
    if layers == 0:
        return model
    whole = [group.layers if _unbounded(group) else 0 for group in model.attention]
    if layers > sum(whole):
        message = (
            f"options.prune: kv_layers_trimmed: {layers} layers; {sum(whole)} of those that decode "
            f"keeps of model '{model.name}' cache every token"
        )
        raise SpecError(message)
    found: list[AttentionLayers] = []
    for group, before, after in zip(model.attention, whole, _less(whole, layers), strict=True):
        if before == after:
            found.append(group)
            continue
        if after:
            found.append(group.model_copy(update={"layers": after}))
        found.append(group.model_copy(update={"layers": before - after, "window": tokens}))
    return _changed(model, attention=tuple(found))


def trimmed_layers(model: ModelSpec) -> ModelSpec | None:
    """Only the layers whose cache was trimmed, with the whole of it; None where none was."""
    found = tuple(
        group.model_copy(update={"window": None})
        for group in model.attention
        if group.kind in UNBOUNDED and group.window is not None
    )
    return _changed(model, attention=found) if found else None


def model_of(model: ModelSpec, prune: Prune | None, stages: str) -> ModelSpec:
    """Layers that a pool runs: where it only decodes those of decode, else those of prefill.

    One process that prefills and decodes has one set of layers, and that can only be what both
    leave out: prefill's. Encoding is not touched.
    """
    if prune is None or stages in ("E", "M"):
        return model
    apart = "P" not in stages
    return with_layers_removed(model, removed(prune, decoding=apart))


def removed(prune: Prune, *, decoding: bool) -> int:
    """How many layers a stage leaves out.

    >>> removed(Prune(prefill_layers=(3,), decode_layers=(3, 9)), decoding=True)
    2
    """
    return how_many(prune.decode_layers if decoding else prune.prefill_layers)


def sent_model(model: ModelSpec, prune: Prune | None) -> ModelSpec:
    """Layers whose KV is sent, trimmed layers having the prompt's ends only.

    X' = kv / L ((L - |R_D| - |S|) l + |S| min(l, n_first + n_last)) for a prompt of l tokens
    """
    if prune is None:
        return model
    kept = with_layers_removed(model, removed(prune, decoding=True))
    return with_trimmed_cache(kept, how_many(prune.kv_layers_trimmed), float(prune.end_tokens))


def sent_bytes(
    model: ModelSpec,
    prune: Prune | None,
    kv_dtype: str,
    prompt_tokens: ArrayLike,
    cross_tokens: ArrayLike,
) -> Floats:
    """Cache of one prompt as it is sent [S]: of the layers and tokens that are, or a share of all.

    Worked: Llama-3.1-8B, 4 layers out of decode, 20 trimmed to 128 tokens, 4,096 tokens: 144.7 MB
    for 536.9 MB, 3.71 times less; L / (L - |R_D| - |S|) = 4 times for endless prompts.

    >>> from pdplan.specs.model import load_model
    >>> prune = Prune(decode_layers=4, kv_layers_trimmed=20, last_tokens=128)
    >>> float(sent_bytes(load_model("llama-3.1-8b"), prune, "bf16", 4096, 0)) / 1e6
    144.703488
    """
    if prune is not None and prune.kv_share is not None:
        return kv_bytes(model, kv_dtype, prompt_tokens, cross_tokens) * prune.kv_share
    return kv_bytes(sent_model(model, prune), kv_dtype, prompt_tokens, cross_tokens)


def uneven(model: ModelSpec, prune: Prune | None, pp: int, stages: str) -> str | None:
    """Why a pipeline cannot be divided evenly once layers are left out, if it cannot."""
    own = model_of(model, prune, stages)
    if own is model or own.layers % pp == 0:
        return None
    if pp > own.layers:
        return f"pp={pp} exceeds the {own.layers} layers that pruning leaves"
    return f"pp={pp} does not divide the {own.layers} layers that pruning leaves"


def check_pruning(model: ModelSpec, prune: Prune | None) -> None:
    """Refuse what the model cannot give up, or the user will not.

    Raises SpecError for layers that the model does not have, UnfitError beyond the largest loss of
    accuracy that is allowed.
    """
    if prune is None:
        return
    for key in ("prefill_layers", "decode_layers", "kv_layers_trimmed"):
        _within(model, key, getattr(prune, key))
    sent_model(model, prune)
    most, lost = prune.max_accuracy_drop, prune.accuracy_drop
    if most is None or not prune.any:
        return
    if lost is None:
        message = f"pruning: what it costs is not stated (accuracy_drop); {most:.2%} is allowed"
        raise UnfitError(message)
    if lost > most:
        message = f"pruning: {lost:.2%} of accuracy would be lost; {most:.2%} is allowed"
        raise UnfitError(message)


def _within(model: ModelSpec, key: str, layers: int | Sequence[int]) -> None:
    beyond = [i for i in layers if i >= model.layers] if isinstance(layers, tuple) else []
    if beyond:
        last = model.layers - 1
        message = f"options.prune: {key}: layer {beyond[0]}; the last of '{model.name}' is {last}"
        raise SpecError(message)


def _unbounded(group: AttentionLayers) -> bool:
    return group.kind in UNBOUNDED and group.window is None


def _less(layers: Sequence[int], count: int) -> list[int]:
    """Layers of each kind that are left when so many are taken away in proportion."""
    taken = [0] * len(layers)
    for _ in range(count):
        claims = [
            n / (2 * gone + 1) if gone < n else -1.0 for n, gone in zip(layers, taken, strict=True)
        ]
        taken[claims.index(max(claims))] += 1
    return [n - gone for n, gone in zip(layers, taken, strict=True)]


def _changed(model: ModelSpec, **changed: object) -> ModelSpec:
    """Build a model with other layers; what depends on them is counted anew."""
    kept = {name: getattr(model, name) for name in ModelSpec.model_fields}
    own = ModelSpec.model_construct(**(kept | changed))
    return own.marked(own=model.own)
