"""`python -m validation.largest_rates`: the largest rate of some fleets, closed form and simulated.

Objectives are three times the unloaded TTFT p90 and 1.6 times the unloaded TPOT p90. The simulated
rate is found by bisection on runs of one seed, each as long as the others.
"""

import csv
import io
from pathlib import Path

from pdplan.planner import evaluate, max_rate
from pdplan.planner.simulating import simulate
from pdplan.report.files import write_file
from pdplan.specs.plan_file import PlanSpec
from validation.agreement import Row
from validation.agreement_grid import Cell, at_rate, grid, sizing_of, spec_of, with_objectives

ROWS = Path(__file__).parent / "largest_rates.csv"
REQUESTS, SEED, HALVINGS = 40_000, 3, 6
LOAD = 0.5
SLOWER_TTFT, SLOWER_TPOT = 3.0, 1.6


def chosen() -> list[Cell]:
    """Fleets of every placement at one of the grid's loads."""
    kept = [c for c in grid() if c.load == LOAD and c.arrivals == "poisson" and c.instances <= 16]
    return [c for c in kept if c.lengths in ("constant", "chat", "prompts")]


def with_limits(spec: PlanSpec) -> PlanSpec:
    """Objectives as multiples of what an empty fleet delivers."""
    idle = evaluate(at_rate(spec, spec.traffic.rate_rps * 1e-3)).prediction
    assert idle is not None
    return with_objectives(spec, SLOWER_TTFT * idle.ttft_s.p90, SLOWER_TPOT * idle.tpot_s.p90)


def simulated(spec: PlanSpec, near_rps: float) -> float:
    """Largest rate at which a simulation keeps both objectives, within 1 %."""
    kind = spec.traffic.classes[0]
    assert kind.ttft_s is not None
    assert kind.tpot_s is not None
    low, high = 0.7 * near_rps, 1.3 * near_rps
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        run = simulate(at_rate(spec, middle), requests=REQUESTS, seed=SEED)
        keeps = run.ttft_s.p90.value <= kind.ttft_s and run.tpot_s.p90.value <= kind.tpot_s
        low, high = (middle, high) if keeps else (low, middle)
    return (low + high) / 2


def main() -> None:
    """Work all of them out."""
    rows = []
    for cell in chosen():
        spec = with_limits(spec_of(cell, sizing_of(cell)))
        best = max_rate(spec).prediction
        assert best is not None
        found = simulated(spec, best.rate_rps)
        row = {"name": cell.name, "placement": cell.placement, "scheduler": cell.scheduler}
        row |= {"rate_rps": f"{best.rate_rps:.5g}", "simulated_rps": f"{found:.5g}"}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(ROWS, text.getvalue())


def read_largest() -> list[Row]:
    """Rows as written last."""
    with ROWS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
