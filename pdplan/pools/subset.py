"""What some of the classes ask for alone: a demand restricted to them."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from pdplan.pools.demand import Demand, demand
from pdplan.specs.traffic import Traffic


def demand_of(whole: Demand, classes: Sequence[int]) -> Demand:
    """What classes (positions in `traffic.classes`) ask for when no other class shares with them.

    Raises UnfitError where their own median prompt exceeds the model's context.
    """
    return demand(
        whole.model, traffic_of(whole.whole_traffic, classes), whole.speculation, whole.options
    )


def traffic_of(whole: Traffic, classes: Sequence[int]) -> Traffic:
    """Traffic of some classes: their points, their part of the rate, arrivals thinned.

    A class that each request is of with probability p, independently of all others, arrives at
    p times the rate with a squared coefficient of variation of 1 + p (Ca^2 - 1): exact for
    renewal arrivals, and nearer to Poisson the rarer the class. Bursts hold for every class.
    *Source*: Whitt, The Queueing Network Analyzer, Bell Syst. Tech. J. 62 (1983) 2779-2815,
    splitting.
    """
    chosen = sorted(classes)
    points = np.flatnonzero(np.isin(whole.class_index, chosen))
    share = float(whole.weight[points].sum())
    arrays: dict[str, Any] = {
        field.name: value[points]
        for field in fields(whole)
        if isinstance(value := getattr(whole, field.name), np.ndarray)
    }
    arrays["weight"] = arrays["weight"] / share
    arrays["class_index"] = np.searchsorted(chosen, arrays["class_index"])
    total = sum(whole.classes[i].share for i in chosen)
    kinds = tuple(replace(whole.classes[i], share=whole.classes[i].share / total) for i in chosen)
    return replace(
        whole,
        rate_rps=whole.rate_rps * share,
        arrival_scv=1 + share * (whole.arrival_scv - 1),
        classes=kinds,
        **arrays,
    )
