"""Later turns of sessions told apart: prefilled where their history lies, or elsewhere.

Each support point of a later turn becomes two, of the share phi that is prefilled on the decode
instance which holds its history (`local`) and of the rest, which the prefill pool takes.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.roofline import Floats
from pdplan.specs.options import Options
from pdplan.specs.options.local_prefill import LocalPrefill
from pdplan.specs.traffic import Traffic

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LocalTurns:
    """Who prefills each support point, and what of its history lies and moves where; each [S]."""

    whole: Traffic
    """The traffic before its later turns were told apart."""
    local: Bools
    """Prefilled by a decode instance."""
    cached_tokens: Floats
    """Prompt tokens that whoever prefills it has the cache of."""
    kept_at_prefill: Floats
    """Tokens that prefill instances keep between the turn before and this one."""
    kept_at_decode: Floats
    """Tokens that decode instances keep."""
    read_tokens: Floats
    """Tokens whose KV goes from decode to prefill, before the prefill."""
    sent_tokens: Floats
    """Tokens whose KV goes from prefill to decode."""

    @property
    def stay(self) -> bool:
        """Whether sessions are bound to the decode instance that holds their history."""
        return bool(self.kept_at_decode.any())


def told_apart(traffic: Traffic, options: Options) -> tuple[Traffic, Bools | None]:
    """Split the support points of later turns; None where there is nothing to tell apart.

    Turns without media and with fewer new tokens than `bypass_tokens` are all local, of the other
    turns without media the share phi. A share that is still searched splits nothing.
    """
    option = options.local_prefill
    later = traffic.earlier_turns > 0
    if option is None or option.share == "auto" or not later.any():
        return traffic, None
    able = later & (traffic.images + traffic.audio_s + traffic.video_frames == 0)
    short = traffic.text_tokens - traffic.cached_tokens < option.bypass_tokens
    share = np.where(able, np.where(short, 1.0, option.share), 0.0)
    elsewhere, here = np.flatnonzero(share < 1), np.flatnonzero(share > 0)
    points = np.concatenate([elsewhere, here])
    arrays: dict[str, Any] = {
        field.name: value[points]
        for field in fields(traffic)
        if isinstance(value := getattr(traffic, field.name), np.ndarray)
    }
    parts = [((1 - share) * traffic.weight)[elsewhere], (share * traffic.weight)[here]]
    arrays["weight"] = np.concatenate(parts)
    local = np.arange(len(points)) >= len(elsewhere)
    return replace(traffic, **arrays), local


def local_turns(
    whole: Traffic,
    traffic: Traffic,
    option: LocalPrefill,
    local: Bools,
    tokens: tuple[Floats, Floats, Floats],
) -> LocalTurns:
    """Say what lies and moves where; tokens: of the prompts, cached of them, kept of these [S].

    Local turns find all that the session keeps. The others read it from the decode instance, and
    only new tokens go back (`read`), compute all of it again (`recompute`), or find what prefill
    instances have of it (`prefix_cache`): what they prefilled themselves, not the answers. In the
    last two cases the whole prompt is sent.
    """
    prompt, cached, kept = tokens
    read = option.history == "read"
    bound = read or bool(local.any())
    found = nothing = np.zeros_like(kept)
    asked = option.history == "prefix_cache" and bool((~local & (kept > 0)).any())
    if read:
        found = kept
    elif asked:
        found = kept * _prefilled_share(traffic, local)
    reading = np.where(local, 0.0, kept) if read else nothing
    return LocalTurns(
        whole=whole,
        local=local,
        cached_tokens=np.where(local, cached, cached - kept + found),
        kept_at_prefill=found if asked else nothing,
        kept_at_decode=kept if bound else nothing,
        read_tokens=reading,
        sent_tokens=np.where(local, 0.0, prompt - (cached * (kept > 0) if read else 0.0)),
    )


def _prefilled_share(traffic: Traffic, local: Bools) -> Floats:
    """Share of a turn's history that prefill instances have computed themselves [S].

    The last of j turns before went through them, j geometric: E[j] = (1 - phi^h) / (1 - phi) of h
    earlier turns, the first of which always did. They lack its answer a and the j - 1 turns of g
    tokens since: 1 - (a + g (E[j] - 1)) / (g h).
    """
    count = len(traffic.classes)

    def of_class(values: Floats) -> Floats:
        sums = np.bincount(traffic.class_index, traffic.weight * values, count)
        return np.asarray(sums[traffic.class_index])

    earlier = traffic.earlier_turns
    history = traffic.kept_tokens / np.where(traffic.kept_share > 0, traffic.kept_share, 1.0)
    own = traffic.text_tokens - history - (traffic.cached_tokens - traffic.kept_tokens)
    answer = of_class((traffic.output_weight * traffic.output_tokens).sum(axis=1))
    answer = answer / np.maximum(answer + of_class(own), 1e-300)
    later = of_class((earlier > 0).astype(float))
    phi = of_class(local.astype(float)) / np.where(later > 0, later, 1.0)
    phi = np.minimum(phi, 1 - 1e-12)
    turns = np.maximum(earlier, 1.0)
    since = (1 - phi**turns) / (1 - phi)
    lacking = (answer + since - 1) / turns
    return np.where(earlier > 0, np.clip(1 - lacking, 0.0, 1.0), 0.0)


def thinned(traffic: Traffic, mine: Bools) -> tuple[float, Traffic]:
    """Requests at some of the points: their share, and their traffic over all points.

    Points keep their places, the others have no weight. The gaps of a stream of which each request
    is taken with probability p have a squared coefficient of variation of 1 + p (Ca^2 - 1).
    *Source*: Whitt, The Queueing Network Analyzer, Bell Syst. Tech. J. 62 (1983) 2779-2815.
    """
    if mine.all():
        return 1.0, traffic
    weight = np.where(mine, traffic.weight, 0.0)
    share = float(weight.sum())
    return share, replace(
        traffic,
        rate_rps=traffic.rate_rps * share,
        arrival_scv=1 + share * (traffic.arrival_scv - 1),
        weight=weight / share,
    )


def score(
    ttft_s: float,
    tpot_s: float,
    other_ttft_s: float,
    other_tpot_s: float,
    *,
    ttft_weight: float = 1.0,
    tpot_weight: float = 1.0,
) -> float:
    """Gain of one way to serve later turns over another: positive where it is better.

    S = w_ttft (TTFT_other - TTFT) / TTFT_other - w_tpot (TPOT - TPOT_other) / TPOT_other.
    Source: Not All Prefills Are Equal (arXiv 2603.13358), local where S > 0.

    >>> round(score(0.4, 1.08, 1.0, 1.0), 2), round(score(0.4, 1.08, 1.0, 1.0, tpot_weight=6), 2)
    (0.52, 0.12)
    """
    sooner = (other_ttft_s - ttft_s) / other_ttft_s
    slower = (tpot_s - other_tpot_s) / other_tpot_s
    return ttft_weight * sooner - tpot_weight * slower
