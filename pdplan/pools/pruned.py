"""What a pool sees of a demand where prefill and decode run different layers of the model."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.specs.options.prune import how_many
from pdplan.stages.machine import Machines
from pdplan.stages.memory import cache_bytes_per_sequence
from pdplan.stages.pruning import model_of, trimmed_layers, with_trimmed_cache
from pdplan.stages.speculation import mean_steps


@lru_cache(maxsize=64)
def of_pool(demand: Demand, stages: str) -> Demand:
    """Give the pool the layers that it runs; the same object where nothing is left out.

    Where a pool only decodes, a trimmed layer reads and holds the prompt's ends and what has been
    generated, `held_tokens` on average.
    """
    prune = demand.options.prune
    if prune is None or not prune.any:
        return demand
    model = model_of(demand.model, prune, stages)
    if "P" not in stages and stages not in ("E", "M"):
        trimmed = how_many(prune.kv_layers_trimmed)
        model = with_trimmed_cache(model, trimmed, max(Held.of(demand).mean, 1.0))
    return demand if model is demand.model else replace(demand, model=model)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Tokens that a trimmed layer holds of a running request: min(p, n) + generated."""

    mean: float
    spread: float
    """Standard deviation."""
    longest: Floats
    """With the whole of the mean output, for each support point [S]."""

    @classmethod
    def of(cls, demand: Demand) -> "Held":
        """Weigh requests by the time they run, as the context of a running one is.

        With t = min(p, n), o outputs: mean E[o (t + o / 2)] / E[o], second moment
        E[o (t^2 + t o + o^2 / 3)] / E[o]; o weighs in decode steps.
        """
        prune, traffic = demand.options.prune, demand.traffic
        assert prune is not None
        ends = np.minimum(demand.prompt_tokens, float(prune.end_tokens))[:, None]
        outputs = np.asarray(traffic.output_tokens, float)
        steps = mean_steps(demand.speculation, np.maximum(outputs - 1, 0.0))
        joint = np.asarray(traffic.weight, float)[:, None] * traffic.output_weight
        lasting = float((joint * steps).sum())
        base = joint * steps / lasting if lasting > 0 else joint
        mean = float((base * (ends + outputs / 2)).sum())
        second = float((base * (ends**2 + ends * outputs + outputs**2 / 3)).sum())
        return cls(
            mean,
            float(np.sqrt(max(second - mean**2, 0.0))),
            ends[:, 0] + (traffic.output_weight * outputs).sum(1),
        )


def trimmed_spread(demand: Demand, m: Machines) -> Floats:
    """Deviation of what trimmed layers hold of a sequence on one accelerator [C].

    It is added to that of the other layers: the two rise together.
    """
    each = _bytes_per_token(demand, m)
    return each * (Held.of(demand).spread if each.any() else 0.0)


def trimmed_longest(demand: Demand, m: Machines, tokens: Floats) -> Floats:
    """What trimmed layers hold of each support point's longest beyond the mean [C, S]."""
    each = _bytes_per_token(demand, m)
    if not each.any():
        return np.zeros((len(m.tp), len(tokens)))
    held = Held.of(demand)
    more = held.longest - np.minimum(tokens, max(held.mean, 1.0))
    return np.asarray(each[:, None] * more)


def _bytes_per_token(demand: Demand, m: Machines) -> Floats:
    """Cache of one token in all trimmed layers [C]; 0 where the demand's model has none."""
    layers = trimmed_layers(demand.model) if demand.options.prune is not None else None
    if layers is None:
        return np.zeros(len(m.tp))
    return np.asarray(cache_bytes_per_sequence(layers, m, np.ones(1))[:, 0])
