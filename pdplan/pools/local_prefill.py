"""Pools of a placement whose decode instances prefill a share of the later turns themselves.

The prefill pool sees the other requests only, a thinned stream; a decode instance is a colocated
one for the local prompts, and decodes the rest. In steady state, to first order, with lambda_s
sessions a second of K turns, a share phi of the later ones local, and n_D decode instances:
  prefill pool     lambda_s (1 + (1 - phi) (K - 1)) prompts a second,
  decode instance  rho = lambda_s phi (K - 1) E[work] / n_D of its time in prompts,
                   a step of T lasts T / (1 - rho).
*Source*: arXiv 2602.14516 (routing of initial and incremental prefills; the steady state is
derived here), arXiv 2603.13358 (append-prefill where the KV lies).
"""

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.discipline import Discipline
from pdplan.pools.local_turns import thinned

if TYPE_CHECKING:
    from pdplan.pools.demand import Demand
    from pdplan.pools.table import PoolTable


def prefills(stages: str, demand: "Demand") -> bool:
    """Whether a pool prefills any prompt."""
    if "P" in stages:
        return True
    return "D" in stages and demand.turns is not None and bool(demand.turns.local.any())


def prompts_at(stages: str, demand: "Demand") -> tuple[float, Floats]:
    """Share of the requests whose prompts a pool prefills, and their weights [S]."""
    if demand.turns is None:
        return 1.0, demand.weight()
    share, mine = _prompts(demand, "P" in stages)
    return share, mine.weight()


def demand_at(stages: str, demand: "Demand") -> "Demand":
    """Requests as a pool sees them which hands prompts on: those that it prefills."""
    if demand.turns is None or "P" not in stages:
        return demand
    return _prompts(demand, elsewhere=True)[1]


def kept_tokens(stages: str, demand: "Demand") -> Floats:
    """Tokens that a pool keeps of a session between the turn before and this one [S]."""
    if demand.turns is not None:
        return demand.turns.kept_at_prefill if "P" in stages else demand.turns.kept_at_decode
    return demand.kept_tokens if "P" in stages else np.zeros_like(demand.kept_tokens)


def bound(discipline: Discipline, demand: "Demand") -> Discipline:
    """How requests reach decode instances: later turns of a session have no choice.

    The router evens out sessions, not turns: at one instance turns of many sessions come together,
    nearly as a Poisson stream of the mean rate.
    """
    if demand.turns is None or not demand.turns.stay:
        return discipline
    return replace(discipline, routing="random")


def handed_on(table: "PoolTable", demand: "Demand") -> "PoolTable":
    """Load a pool that hands prompts on as all requests see it: local turns pass it by."""
    if demand.turns is None or "P" not in table.stages:
        return table
    here = ~demand.turns.local
    if here.all():
        return table
    share, _ = _prompts(demand, elsewhere=True)
    return replace(
        table,
        prefill_s=np.where(here, table.prefill_s, 0.0),
        capacity_rps=table.capacity_rps / share,
        prefilled=here.astype(float),
    )


def local_points(table: "PoolTable", demand: "Demand") -> "PoolTable":
    """Note whose prompts a pool that decodes prefills."""
    assert demand.turns is not None
    return replace(table, prefilled=demand.turns.local.astype(float))


def measured_s(stages: str, demand: "Demand", step_s: Floats, modelled_s: Floats) -> Floats:
    """What prompts add to decode steps [C, S]: as measured, where that is given.

    A step of b requests that carries m new tokens lasts (1 + s m / m0) tau(b), with s, m0 and b of
    the option `interference`. step_s [C, N] at batch 1..N.
    """
    option = demand.options.local_prefill
    if stages != "D" or option is None or option.interference is None:
        return modelled_s
    found = option.interference
    step = step_s[:, min(found.batch, step_s.shape[1]) - 1]
    per_token = found.slowdown * step / found.tokens
    return np.asarray(per_token[:, None] * demand.new_tokens)


@lru_cache(maxsize=64)
def _prompts(demand: "Demand", elsewhere: bool) -> tuple[float, "Demand"]:
    assert demand.turns is not None
    mine = ~demand.turns.local if elsewhere else demand.turns.local
    share, traffic = thinned(demand.traffic, mine)
    return share, replace(demand, traffic=traffic, turns=None)
