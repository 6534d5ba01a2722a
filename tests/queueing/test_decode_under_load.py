"""Closed forms of decode against a simulation in steps."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from scipy.stats import pearson3

from pdplan.placement.latency import Sojourn
from pdplan.planner.attainment import both_met
from pdplan.queueing import (
    Outputs,
    Stream,
    decode_states,
    instance_stream,
    mixed_quantiles_s,
    step_quantile_s,
    tpot_quantile_s,
)
from pdplan.queueing.preemption import preemption_share
from tests.queueing.decode_simulation import arrivals, lengths, simulate

LEVELS = np.array([0.5, 0.9, 0.95, 0.99])
MEMORY_BOUND = 0.010 + 5e-5 * np.arange(1, 201)
MIXED = 0.010 + 3e-4 * np.arange(1, 33)
FEW = 0.010 + 1e-3 * np.arange(1, 9)
STEEP = 0.010 + 1e-3 * np.arange(1, 201)


@dataclass
class Case:
    """A pool, simulated, and its closed form."""

    step: np.ndarray
    mean: int
    share: float
    """Load over what the full batch serves."""
    cv: float = 1
    instances: int = 1
    routing: str = "least_loaded"
    scv: float = 1.0
    requests: int = 160_000

    def __post_init__(self):
        rng = np.random.default_rng(11)
        cap = len(self.step)
        self.steps = lengths(self.mean, self.cv, self.requests, rng)
        self.rate = self.share * cap / (self.steps.mean() * self.step[-1])
        pool = self.rate * self.instances
        self.seen = simulate(
            self.step, arrivals(pool, self.requests, rng, self.scv), self.steps, cap,
            self.instances, self.routing,
        )  # fmt: skip
        self.outputs = Outputs.of(self.steps, np.ones(self.requests))
        self.states = decode_states(
            self.step,
            self.rate,
            self.steps.mean(),
            cap,
            stream=instance_stream(self.routing, pool, self.instances, self.scv),
            length_scv=self.outputs.scv,
            overlap=self.outputs.overlap,
        )

    def quantiles(self, own):
        kept = self.outputs.averaging(own.steps, self.states.recovery)
        grid = np.linspace(0.0025, 0.9975, 200)
        flat = step_quantile_s(self.states, self.step, grid)
        mean = self.states.tpot_mean_s
        nodes = mean + np.sqrt(kept)[:, None] * (flat - mean)
        weight = own.weight[:, None] * np.ones(len(grid))
        return mixed_quantiles_s(nodes, weight, LEVELS)


CASES = {
    "memory-bound": {"step": MEMORY_BOUND, "mean": 100, "share": 0.5},
    "steep, constant": {"step": STEEP, "mean": 100, "share": 0.65, "cv": 0},
    "steep, heavy": {"step": STEEP, "mean": 50, "share": 0.65, "cv": 2},
    "four level": {"step": STEEP, "mean": 50, "share": 0.65, "instances": 4},
    "sixteen level": {"step": MIXED, "mean": 100, "share": 0.7, "instances": 16},
    "in turn": {
        "step": STEEP, "mean": 50, "share": 0.65, "instances": 4, "routing": "round_robin",
    },
    "by chance": {
        "step": MIXED, "mean": 100, "share": 0.6, "instances": 4, "routing": "random", "cv": 0.5,
    },
    "bursty": {"step": MEMORY_BOUND, "mean": 100, "share": 0.4, "scv": 4.0},
}  # fmt: skip


@cache
def simulated(name):
    return Case(**CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_tpot_under_every_routing(name):
    case = simulated(name)
    assert case.states.tpot_mean_s == pytest.approx(case.seen.tpot_s.mean(), rel=0.02)
    found = case.quantiles(case.outputs)
    expected = np.quantile(case.seen.tpot_s, LEVELS)
    assert found[:3] == pytest.approx(expected[:3], rel=0.03)  # 2.5 % stated, and noise
    assert found[3] == pytest.approx(expected[3], rel=0.05)


@pytest.mark.parametrize("name", ["steep, heavy", "four level"])
def test_short_answers_spread_more(name):
    case = simulated(name)
    shortest, longest = np.quantile(case.seen.steps, [0.25, 0.75])
    spreads = []
    for kept in (case.seen.steps <= shortest, case.seen.steps >= longest):
        own = Outputs.of(case.seen.steps[kept], np.ones(kept.sum()))
        found = case.quantiles(own)
        expected = np.quantile(case.seen.tpot_s[kept], LEVELS)
        assert found[:2] == pytest.approx(expected[:2], rel=0.025)
        spreads.append(found[1] - found[0])
    assert spreads[0] > 1.1 * spreads[1]


@pytest.mark.parametrize("name", ["memory-bound", "steep, heavy", "by chance"])
def test_a_request_waits_for_the_step_to_end(name):
    case = simulated(name)
    assert case.states.wait.probability < 0.01
    expected = case.states.residual_s + case.states.wait.mean_s
    assert case.seen.wait_s.mean() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", ["four level", "sixteen level"])
def test_the_least_loaded_has_often_just_ended_a_step(name):
    case = simulated(name)
    over = case.seen.wait_s.mean() - case.states.residual_s
    assert abs(over) < 0.05 * case.states.tpot_mean_s  # stated in `decode_states`


@pytest.mark.parametrize(("cv", "share", "error"), [(0, 0.8, 0.1), (1, 0.8, 0.06), (2, 0.8, 0.25)])
def test_admission_wait_depends_on_lengths(cv, share, error):
    case = Case(FEW, 50, share, cv=cv, requests=300_000)
    wait = case.states.wait
    joined = case.seen.wait_s > FEW[-1]
    assert wait.probability == pytest.approx(joined.mean(), abs=0.05)
    expected = wait.mean_s + case.states.residual_s
    assert expected == pytest.approx(
        case.seen.wait_s.mean(), rel=error
    )  # stated in `decode_states`, with noise


def test_joint_attainment_knows_that_who_waits_decodes_slowly():
    case = Case(MIXED, 100, 0.87, requests=400_000)
    late = case.seen.wait_s > MIXED[-1]
    waiting = late.mean()
    spread = case.outputs.memory(case.outputs.steps, case.states.recovery)
    memory = float(spread @ case.outputs.weight)
    way = Sojourn(np.zeros((1, 1)), np.full((1, 1, 1), waiting), np.ones((1, 1, 1)))
    for level in (0.5, 0.8, 0.9):
        limit = np.quantile(case.seen.tpot_s, level)
        expected = (~late & (case.seen.tpot_s <= limit)).mean()
        found = both_met(way, np.ones(1), 0.0, level, place=0, waiting=waiting, memory=memory)
        assert found == pytest.approx(expected, abs=0.02)  # stated in `both_met`
        assert expected > (1 - waiting) * level + 0.02  # what independence would give


def test_level_instances_are_one_large_instance():
    """Flat steps: n instances of c places kept level are an M/M/(n c) queue, in the mean."""
    step = np.full(8, 0.01)
    stream = instance_stream("least_loaded", 4 * 7.2, 4)
    level = decode_states(step, 7.2, 100.0, 8, stream=stream)
    whole = decode_states(np.full(32, 0.01), 28.8, 100.0, 32)
    assert level.wait.tail_mean_s == pytest.approx(whole.wait.tail_mean_s)
    assert level.wait.probability == pytest.approx(whole.wait.probability, abs=0.06)
    assert level.mean_batch == pytest.approx(whole.mean_batch / 4, rel=1e-9)


def test_peakedness_of_infinite_servers_is_exact():
    """GI/M/infinity with balanced hyper-exponential gaps: z = 1 / (1 - phi(mu)) - lambda / mu."""
    scv, rate = 4.0, 20.0
    first = (1 + np.sqrt((scv - 1) / (scv + 1))) / 2
    fast, slow = 2 * first * rate, 2 * (1 - first) * rate
    transform = first * fast / (fast + 1) + (1 - first) * slow / (slow + 1)
    exact = 1 / (1 - transform) - rate
    stream = instance_stream("random", rate, 1, scv)
    assert stream.swing(rate, 1.0, 1.0, 0.5) == pytest.approx(exact, rel=1e-9)


def test_arrival_settings_at_their_limits():
    step = 0.010 + 1e-3 * np.arange(1, 65)
    poisson = decode_states(step, 5.0, 100.0, 64)
    alone = decode_states(step, 5.0, 100.0, 64, stream=instance_stream("least_loaded", 5.0, 1))
    assert alone.tpot_mean_s == pytest.approx(poisson.tpot_mean_s, rel=1e-12)
    assert alone.wait.mean_s == pytest.approx(poisson.wait.mean_s, rel=1e-9)
    many = instance_stream("least_loaded", 5e4, 1e4)
    level = decode_states(step, 5.0, 100.0, 64, stream=many)
    wide = tpot_quantile_s(poisson, step, 0.99) - poisson.tpot_mean_s
    narrow = tpot_quantile_s(level, step, 0.99) - level.tpot_mean_s
    assert narrow < 0.3 * wide
    slow = Stream(dispersion=np.asarray(9.0), correlation_s=np.asarray(1e9))
    unfelt = decode_states(step, 5.0, 100.0, 64, stream=slow)
    assert unfelt.tpot_mean_s == pytest.approx(poisson.tpot_mean_s, rel=1e-6)


def test_cache_losses_rise_with_the_load():
    """The factor of 3 is stated; the numbers are simulations of admission by tokens."""
    simulated = {0.8: 0.0366, 0.9: 0.0658, 0.95: 0.0854}  # room 64, isl 1500 cv 2, osl 200 cv 1
    for load, expected in simulated.items():
        states = decode_states(np.full(128, 0.02), load * 64 / 4.0, 200.0, 128)
        found = preemption_share(states, 64.0, 1.73, 200.0, 1500.0)
        assert expected / 3 < found < expected * 3
    capped = decode_states(np.full(128, 0.02), 0.8 * 64 / 4.0, 200.0, 20)
    assert preemption_share(capped, 64.0, 0.5, 200.0, 1500.0) < 1e-6


def test_contexts_of_different_lengths_spread_the_steps():
    """Steps over an M/G/infinity number of lognormal contexts, drawn."""
    rng = np.random.default_rng(4)
    mean, cv, running, base, each = 2000.0, 1.2, 20.0, 0.02, 1e-7
    step = base + each * mean * np.arange(1, 101)
    states = decode_states(step, running / (200 * base * 1.2), 200.0, 100)
    others = rng.poisson(states.mean_batch, 100_000)
    spread = np.log1p(cv**2)
    contexts = rng.lognormal(np.log(mean) - spread / 2, np.sqrt(spread), others.sum() + others.size)
    total = np.add.reduceat(contexts, np.cumsum(others + 1) - (others + 1))
    noise = each**2 * (cv * mean) ** 2 * states.mean_batch
    skew = 2 * cv / np.sqrt(states.mean_batch)
    found = step_quantile_s(states, step, LEVELS, noise, skew)
    assert found == pytest.approx(np.quantile(base + each * total, LEVELS), rel=0.02)
    narrow = step_quantile_s(states, step, LEVELS)
    assert found[3] - found[0] > 1.3 * (narrow[3] - narrow[0])


def test_noise_alone_is_a_gamma_law():
    step = np.full(8, 0.02)
    states = decode_states(step, 1.0, 100.0, 8)
    for skew in (0.1, 1.0, 2.0):
        found = step_quantile_s(states, step, LEVELS, 1e-6, skew)
        expected = 0.02 + 1e-3 * pearson3.ppf(LEVELS, skew)
        assert found == pytest.approx(expected, abs=0.03e-3)  # 0.03 deviations are stated
