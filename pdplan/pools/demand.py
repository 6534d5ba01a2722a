"""What a scenario's traffic asks of a model, before any hardware is chosen."""

from dataclasses import dataclass, replace

import numpy as np

from pdplan.errors import UnfitError
from pdplan.physics.roofline import Floats
from pdplan.pools.begun import begun_answers
from pdplan.pools.local_turns import LocalTurns, local_turns, told_apart
from pdplan.specs.modalities import with_options
from pdplan.specs.model import ModelSpec
from pdplan.specs.options import NO_OPTIONS, Options
from pdplan.specs.speculation import Speculation
from pdplan.specs.traffic import Traffic
from pdplan.stages.device_draft import drafted
from pdplan.stages.encode import MediaWork, media_work
from pdplan.stages.pruning import check_pruning, sent_bytes
from pdplan.stages.speculation import draft_model, mean_steps
from pdplan.stages.transfer import embedding_bytes, kv_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """Traffic as work: S prompt support points with their media, and the decoding they lead to."""

    model: ModelSpec
    traffic: Traffic
    speculation: Speculation | None
    media: MediaWork
    prompt_tokens: Floats
    """Text and media tokens of each support point [S]."""
    cached_tokens: Floats
    """Those of them that need no prefill: found in the prefix cache, all but one at most [S]."""
    kept_tokens: Floats
    """Those of these that were kept for this request, since the turn before it [S]."""
    media_share: float
    """Share of requests that carry media."""
    tokens_per_step: float
    """Mean output tokens after the first over mean decode steps; 1 without speculation."""
    decode_steps: float
    """Mean decode steps of a request."""
    output_scv: float
    context_tokens: float
    """Mean cached tokens of a running request, over the time it runs."""
    context_spread: float
    """Standard deviation of the same."""
    cross_tokens: float
    options: Options = NO_OPTIONS
    """What serving adds to the placement; read by the stage, hop or pool that each acts on."""
    turns: LocalTurns | None = None
    """Who prefills the later turns of sessions, where not all of them go the same way."""
    begun: tuple[Floats, Floats] | None = None
    """What the fleet decodes of answers and its weights [S, O], where devices finish some."""

    @property
    def answers(self) -> tuple[Floats, Floats]:
        """Tokens of answers that the fleet itself decodes and their weights [S, O]."""
        return self.begun or (self.traffic.output_tokens, self.traffic.output_weight)

    @property
    def whole_traffic(self) -> Traffic:
        """The traffic before later turns of sessions were told apart."""
        if self.turns is None:
            return self.traffic
        return replace(self.turns.whole, rate_rps=self.traffic.rate_rps)

    @property
    def rate_rps(self) -> float:
        """Requests per second."""
        return float(self.traffic.rate_rps)

    @property
    def draft(self) -> ModelSpec | None:
        """What drafts tokens, if that takes a model."""
        return draft_model(self.model, self.speculation)

    @property
    def new_tokens(self) -> Floats:
        """Prompt tokens that prefill computes [S]; at least 1."""
        return self.prompt_tokens - self.cached_tokens

    @property
    def idle_tokens_s(self) -> float:
        """Tokens kept between the turns of a session times how long, mean per request [token s]."""
        return float(self.mean(self.kept_tokens * self.traffic.think_s))

    def keeping(self, share: float) -> "Demand":
        """The same traffic where only a share of the kept tokens is still found."""
        lost = (1 - share) * self.kept_tokens
        return replace(
            self, cached_tokens=self.cached_tokens - lost, kept_tokens=self.kept_tokens - lost
        )

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
        """Cache that goes to decode for each support point [S], a draft model's beside it.

        That of its prompt, or of the part of it that decode does not hold already.
        """
        if self.turns is not None:
            return self._moved_bytes(kv_dtype, self.turns.sent_tokens)
        prompt, cross = self.prompt_tokens, self.media.cross_tokens
        held = sent_bytes(self.model, self.options.prune, kv_dtype, prompt, cross)
        draft = self.draft
        return held if draft is None else held + kv_bytes(draft, kv_dtype, self.prompt_tokens, 0.0)

    def history_bytes(self, kv_dtype: str) -> Floats:
        """Cache of earlier turns that decode gives back to prefill, for each support point [S]."""
        if self.turns is None:
            return np.zeros(len(self.prompt_tokens))
        return self._moved_bytes(kv_dtype, self.turns.read_tokens)

    def _moved_bytes(self, kv_dtype: str, tokens: Floats) -> Floats:
        cross = self.media.cross_tokens
        held = sent_bytes(self.model, self.options.prune, kv_dtype, tokens, cross)
        if self.draft is not None:
            held = held + kv_bytes(self.draft, kv_dtype, tokens, 0.0)
        return np.where(tokens > 0, held, 0.0)

    def embedding_bytes(self) -> Floats:
        """Media embeddings of each support point [S]."""
        return embedding_bytes(self.model, self.media.llm_tokens, self.media.cross_tokens)


def demand(
    model: ModelSpec,
    traffic: Traffic,
    speculation: Speculation | None = None,
    options: Options = NO_OPTIONS,
) -> Demand:
    """Work out what the traffic asks of the model.

    A running request's context grows from its prompt to prompt + output; weighted by the time it
    runs (its steps), the mean over requests is E[o (p + o / 2)] / E[o] and the second moment
    E[o (p^2 + p o + o^2 / 3)] / E[o], with p prompt tokens and o decode steps.

    The rare prompt beyond the model's context is cut to it, as engines do.

    Raises UnfitError where media do not suit the model or the median prompt exceeds its context.
    """
    check_pruning(model, options.prune)
    whole = with_options(traffic, options)
    traffic, local = told_apart(whole, options)
    media = media_work(model, traffic)
    earlier = _earlier_media(model, traffic, media)
    prompt = np.asarray(traffic.text_tokens, float) + media.llm_tokens + earlier
    prompt = prompt + model.soft_prompt_tokens
    weight = np.asarray(traffic.weight, float)
    _fits_context(model, traffic, prompt)
    prompt = np.minimum(prompt, float(model.max_position))
    kept = traffic.kept_tokens + earlier * traffic.kept_share
    cached = traffic.cached_tokens + earlier * traffic.kept_share
    cached = np.minimum(cached, np.maximum(prompt - 1, 0.0))
    kept, turns = np.minimum(kept, cached), None
    if local is not None and options.local_prefill is not None:
        told = (prompt, cached, kept)
        turns = local_turns(whole, traffic, options.local_prefill, local, told)
        cached = turns.cached_tokens
    speculation = drafted(options.device_draft, model.vocab, speculation)
    begun = begun_answers(model, traffic, prompt, options)
    tokens, share = begun or (traffic.output_tokens, traffic.output_weight)
    joint = weight[:, None] * share
    outputs = np.asarray(tokens, float)
    later = np.maximum(outputs - 1, 0.0)
    steps = mean_steps(speculation, later)
    lasting = float((joint * steps).sum())
    base = joint * steps / lasting if lasting > 0 else joint
    p = prompt[:, None]
    context = float((base * (p + outputs / 2)).sum())
    second = float((base * (p**2 + p * outputs + outputs**2 / 3)).sum())
    per_step = float((joint * later).sum()) / lasting if lasting > 0 else 1.0
    output_mean = float((joint * outputs).sum())
    output_second = float((joint * outputs**2).sum())
    return Demand(
        model=model,
        traffic=traffic,
        speculation=speculation,
        media=media,
        prompt_tokens=prompt,
        cached_tokens=cached,
        kept_tokens=kept,
        media_share=float(weight[media.present].sum()),
        tokens_per_step=per_step,
        decode_steps=max(lasting, 1e-9),
        output_scv=output_second / output_mean**2 - 1,
        context_tokens=context,
        context_spread=float(np.sqrt(max(second - context**2, 0.0))),
        cross_tokens=float((base.sum(1) * media.cross_tokens).sum()),
        options=options,
        turns=turns,
        begun=begun,
    )


def demand_with(work: Demand, options: Options) -> Demand:
    """Work out the same traffic under other options."""
    return demand(work.model, work.whole_traffic, work.speculation, options)


def _earlier_media(model: ModelSpec, traffic: Traffic, media: MediaWork) -> Floats:
    """Media tokens of a session's earlier turns: the mean of the class for each of them [S].

    Raises UnfitError for models that keep them outside the sequence.
    """
    if not (media.any and traffic.earlier_turns.any()):
        return np.zeros(len(traffic.weight))
    if model.cross_layers:
        message = (
            f"workload: sessions with media need a model that reads media in its sequence; "
            f"model '{model.name}' reads them by cross-attention"
        )
        raise UnfitError(message)
    count = len(traffic.classes)
    each = np.bincount(traffic.class_index, traffic.weight * media.llm_tokens, count)
    share = np.bincount(traffic.class_index, traffic.weight, count)
    means = each / np.maximum(share, 1e-300)
    return np.asarray(means[traffic.class_index] * traffic.earlier_turns)


def _fits_context(model: ModelSpec, traffic: Traffic, prompt: Floats) -> None:
    longest = float(np.quantile(prompt, 0.5, weights=traffic.weight, method="inverted_cdf"))
    if longest > model.max_position:
        message = (
            f"workload: the median prompt has {longest:.0f} tokens; "
            f"model '{model.name}' takes {model.max_position}"
        )
        raise UnfitError(message)
