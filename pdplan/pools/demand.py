"""What a scenario's traffic asks of a model, before any hardware is chosen."""

from dataclasses import dataclass

import numpy as np

from pdplan.errors import UnfitError
from pdplan.physics.roofline import Floats
from pdplan.specs.model import ModelSpec
from pdplan.specs.traffic import Traffic
from pdplan.stages.encode import MediaWork, media_work
from pdplan.stages.transfer import embedding_bytes, kv_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """Traffic as work: S prompt support points with their media, and the decoding they lead to."""

    model: ModelSpec
    traffic: Traffic
    media: MediaWork
    prompt_tokens: Floats
    """Text and media tokens of each support point [S]."""
    media_share: float
    """Share of requests that carry media."""
    decode_steps: float
    """Mean decode steps of a request: its output tokens after the first."""
    output_scv: float
    context_tokens: float
    """Mean cached tokens of a running request, over the time it runs."""
    context_spread: float
    """Standard deviation of the same."""
    cross_tokens: float

    @property
    def rate_rps(self) -> float:
        """Requests per second."""
        return float(self.traffic.rate_rps)

    def mean(self, values: Floats, *, of_media: bool = False) -> Floats:
        """Mean over requests of values [..., S]; of those with media if asked."""
        weight = self.weight(of_media=of_media)
        return np.asarray(values @ weight)

    def weight(self, *, of_media: bool = False) -> Floats:
        """Weights of the support points [S], summing to 1."""
        weight = np.asarray(self.traffic.weight, float)
        if of_media:
            weight = weight * self.media.present / self.media_share
        return weight

    def scv(self, values: Floats, *, of_media: bool = False) -> Floats:
        """Squared coefficient of variation over requests of values [..., S]."""
        mean = self.mean(values, of_media=of_media)
        second = self.mean(values**2, of_media=of_media)
        with np.errstate(divide="ignore", invalid="ignore"):
            scv = np.where(mean > 0, second / mean**2 - 1, 0.0)
        return np.maximum(scv, 0.0)

    def kv_bytes(self, kv_dtype: str) -> Floats:
        """Cache of each support point's prompt [S]."""
        return kv_bytes(self.model, kv_dtype, self.prompt_tokens, self.media.cross_tokens)

    def embedding_bytes(self) -> Floats:
        """Media embeddings of each support point [S]."""
        return embedding_bytes(self.model, self.media.llm_tokens, self.media.cross_tokens)


def demand(model: ModelSpec, traffic: Traffic) -> Demand:
    """Work out what the traffic asks of the model.

    A running request's context grows from its prompt to prompt + output; weighted by the time it
    runs (its steps), the mean over requests is E[o (p + o / 2)] / E[o] and the second moment
    E[o (p^2 + p o + o^2 / 3)] / E[o], with p prompt tokens and o decode steps.

    The rare prompt beyond the model's context is cut to it, as engines do.

    Raises UnfitError where media do not suit the model or the median prompt exceeds its context.
    """
    media = media_work(model, traffic)
    prompt = np.asarray(traffic.text_tokens, float) + media.llm_tokens
    weight = np.asarray(traffic.weight, float)
    _fits_context(model, traffic, prompt)
    prompt = np.minimum(prompt, float(model.max_position))
    joint = weight[:, None] * traffic.output_weight
    outputs = np.asarray(traffic.output_tokens, float)
    steps = np.maximum(outputs - 1, 0.0)
    mean_steps = float((joint * steps).sum())
    base = joint * steps / mean_steps if mean_steps > 0 else joint
    p = prompt[:, None]
    context = float((base * (p + outputs / 2)).sum())
    second = float((base * (p**2 + p * outputs + outputs**2 / 3)).sum())
    output_mean = float((joint * outputs).sum())
    output_second = float((joint * outputs**2).sum())
    return Demand(
        model=model,
        traffic=traffic,
        media=media,
        prompt_tokens=prompt,
        media_share=float(weight[media.present].sum()),
        decode_steps=max(mean_steps, 1e-9),
        output_scv=output_second / output_mean**2 - 1,
        context_tokens=context,
        context_spread=float(np.sqrt(max(second - context**2, 0.0))),
        cross_tokens=float((base.sum(1) * media.cross_tokens).sum()),
    )


def _fits_context(model: ModelSpec, traffic: Traffic, prompt: Floats) -> None:
    longest = float(np.quantile(prompt, 0.5, weights=traffic.weight, method="inverted_cdf"))
    if longest > model.max_position:
        message = (
            f"workload: the median prompt has {longest:.0f} tokens; "
            f"model '{model.name}' takes {model.max_position}"
        )
        raise UnfitError(message)
