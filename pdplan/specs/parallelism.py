"""Which degrees of parallelism a model can be split by."""

from pdplan.specs.model import ModelSpec


def unsplittable(
    model: ModelSpec, *, tp: int = 1, pp: int = 1, ep: int = 1, dp: int = 1
) -> str | None:
    """Say why a model cannot be split so, if it cannot.

    TP divides attention heads, PP stages hold at least a layer, EP divides experts, and data
    parallel attention makes sense only where experts are shared.
    """
    heads = min((group.heads for group in model.attention if group.heads % tp), default=None)
    if heads is not None:
        return f"tp={tp} does not divide the model's {heads} attention heads"
    if pp > model.layers:
        return f"pp={pp} exceeds the model's {model.layers} layers"
    if model.moe is None:
        if dp > 1:
            return f"dp={dp}: the model has no experts to share; use more instances"
        return f"ep={ep}: the model has no experts" if ep > 1 else None
    if model.moe.experts % ep:
        return f"ep={ep} does not divide the model's {model.moe.experts} experts"
    return None
