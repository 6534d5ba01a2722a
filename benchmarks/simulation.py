"""`simulate` next to a plain simpy model of the same P-D fleet: requests and tokens a second.

The simpy model is what one writes first: a request is a process that asks for a prefill server,
holds it, holds a link, and then waits out one step after the other at the batch that it finds.
"""

import argparse
import random
import time
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import simpy

from pdplan.planner import evaluate
from pdplan.planner.simulating import simulate
from pdplan.specs.plan_file import PlanSpec, load_plan

PLAN = """
placement: P-D
model: llama-3.1-70b
workload:
  rate: 6 req/s
  isl: {lognormal: {mean: 1500, cv: 1.0}}
  osl: {lognormal: {mean: 250, cv: 0.8}}
pools:
  - {name: prefill, stages: P, hardware: h100-sxm, instances: 3, tp: 4}
  - {name: decode, stages: D, hardware: h100-sxm, instances: 2, tp: 4}
"""
MANY, FEW = 100_000, 2_000


def fleet() -> PlanSpec:
    """The plan above."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plan.yaml"
        path.write_text(PLAN)
        return load_plan(path)


class Plain:
    """The same fleet in simpy, with service times taken from the closed form's means."""

    def __init__(self, spec: PlanSpec, requests: int) -> None:
        plan = evaluate(spec)
        assert plan.prediction is not None
        terms = plan.prediction.ttft_terms_s
        self.requests, self.rate = requests, spec.traffic.rate_rps
        self.prefill_s, self.transfer_s = terms.prefill, terms.kv_transfer
        self.step_s = plan.prediction.tpot_s.p50
        self.osl = spec.traffic.output_mean
        self.random = random.Random(1)
        self.env = simpy.Environment()
        self.prefill = simpy.Resource(self.env, plan.pools[0].instances)
        self.batch = [0] * plan.pools[1].instances
        self.tokens = 0

    def arrivals(self) -> Generator[simpy.Event, None, None]:
        """Poisson arrivals."""
        for _ in range(self.requests):
            yield self.env.timeout(self.random.expovariate(self.rate))
            self.env.process(self.request())

    def request(self) -> Generator[simpy.Event, None, None]:
        """Prefill, transfer, then a step at a time."""
        with self.prefill.request() as turn:
            yield turn
            yield self.env.timeout(self.prefill_s)
        yield self.env.timeout(self.transfer_s)
        place = min(range(len(self.batch)), key=self.batch.__getitem__)
        self.batch[place] += 1
        for _ in range(max(1, int(self.random.expovariate(1 / self.osl)))):
            yield self.env.timeout(self.step_s * (1 + 0.001 * self.batch[place]))
            self.tokens += 1
        self.batch[place] -= 1

    def run(self) -> None:
        """All requests to their end."""
        self.env.process(self.arrivals())
        self.env.run()


def main() -> None:
    """Print both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=MANY)
    asked = parser.parse_args().requests
    spec = fleet()
    began = time.perf_counter()
    run = simulate(spec, requests=asked, seed=1)
    ours = time.perf_counter() - began
    plain = Plain(spec, FEW)
    began = time.perf_counter()
    plain.run()
    theirs = time.perf_counter() - began
    total = run.requests + run.warmup
    tokens = total * spec.traffic.output_mean
    print(f"{'':10}{'requests':>10}{'seconds':>10}{'requests/s':>12}{'tokens/s':>14}")
    print(f"{'pdplan':10}{total:10d}{ours:10.2f}{total / ours:12.0f}{tokens / ours:14.0f}")
    print(f"{'simpy':10}{FEW:10d}{theirs:10.2f}{FEW / theirs:12.0f}{plain.tokens / theirs:14.0f}")
    print(f"ratio of tokens a second: {tokens / ours / (plain.tokens / theirs):.1f}")


if __name__ == "__main__":
    main()
