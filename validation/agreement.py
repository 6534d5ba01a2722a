"""`python -m validation.agreement [PART...]`: simulate the grid, write validation/agreement.csv.

Each row holds a cell's closed form beside its simulation. Only cells whose name contains one of
the parts are simulated anew, all without any; rows of other cells stay as they are.
"""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from pathlib import Path

from pdplan.plan import Plan
from pdplan.planner import evaluate
from pdplan.planner.simulating import simulate
from pdplan.report.files import write_file
from pdplan.simulation.result import Simulation
from pdplan.specs.plan_file import PlanSpec
from validation.agreement_grid import Cell, Sizing, grid, sizing_of, spec_of, with_objectives

ROWS = Path(__file__).parent / "agreement.csv"
LATENCIES = ("ttft_s", "tpot_s", "itl_s", "e2e_s")
STATISTICS = ("mean", "p50", "p90", "p99")
REQUESTS, BUSY_REQUESTS = 30_000, 80_000
"""Requests of a cell, and of one at a load of 0.8 and more, where runs forget slowly."""
SEED = 11
WORKERS = 2
ROOM = 1.1
"""Objectives over the closed form's 90th percentiles."""
CELLS = {cell.name: cell for cell in grid()}
Row = dict[str, str]


def closed_values(plan: Plan) -> Row:
    """Closed form of a cell."""
    assert plan.prediction is not None
    found = {"utilization": max(pool.utilization for pool in plan.pools)}
    found["attainment"] = plan.prediction.attainment
    for name in LATENCIES:
        spread = getattr(plan.prediction, name)
        for statistic in STATISTICS:
            found[f"{name[:-2]}_{statistic}_s"] = getattr(spread, statistic)
    return {key: f"{value:.6g}" for key, value in found.items()}


def simulated_values(run: Simulation) -> Row:
    """Simulation of a cell: values and halves of their intervals."""
    found = {}
    for name in LATENCIES:
        latency = getattr(run, name)
        for statistic in STATISTICS:
            estimate = getattr(latency, statistic)
            key = f"simulated_{name[:-2]}_{statistic}_s"
            found[key] = estimate.value
            found[f"{key}_within"] = (estimate.high - estimate.low) / 2
    found["simulated_attainment"] = run.attainment.value
    found["preemptions"] = float(sum(pool.preemptions for pool in run.pools))
    return {key: f"{value:.6g}" for key, value in found.items()}


def worked_out(cell: Cell) -> Row:
    """One row: the cell, its closed form, its simulation."""
    sized = sizing_of(cell)
    spec = spec_of(cell, sized)
    wanted = objectives(evaluate(spec))
    spec = with_objectives(spec, *wanted)
    requests = BUSY_REQUESTS if cell.load >= 0.8 else REQUESTS
    run = simulate(spec, requests=requests, seed=SEED)
    values = {f.name: str(getattr(cell, f.name)) for f in fields(cell)}
    return {
        "name": cell.name,
        **values,
        "counts": " ".join(map(str, sized.counts)),
        "rate_rps": f"{sized.rate_rps:.6g}",
        "ttft_objective_s": f"{wanted[0]:.6g}",
        "tpot_objective_s": f"{wanted[1]:.6g}",
        **closed_values(evaluate(spec)),
        **simulated_values(run),
    }


def objectives(plan: Plan) -> tuple[float, float]:
    """Objectives that nearly bind: a tenth above the closed form's 90th percentiles."""
    assert plan.prediction is not None
    wanted = (ROOM * plan.prediction.ttft_s.p90, ROOM * plan.prediction.tpot_s.p90)
    return float(f"{wanted[0]:.4g}"), float(f"{wanted[1]:.4g}")


def fleet(row: Row) -> PlanSpec:
    """The fleet of a row, at its rate and with its objectives."""
    spec = spec_of(CELLS[row["name"]], sizing(row))
    return with_objectives(spec, float(row["ttft_objective_s"]), float(row["tpot_objective_s"]))


def read_rows() -> list[Row]:
    """Rows as written last."""
    if not ROWS.exists():
        return []
    with ROWS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(parts: Sequence[str]) -> None:
    """Simulate and write."""
    cells = list(CELLS.values())
    known = {row["name"]: row for row in read_rows()}
    wanted = [c for c in cells if not parts or any(part in c.name for part in parts)]
    with ProcessPoolExecutor(WORKERS) as pool:
        for row in pool.map(worked_out, wanted):
            known[row["name"]] = row
            _write([known[c.name] for c in cells if c.name in known])
            sys.stderr.write(f"{row['name']}\n")


def _write(rows: Sequence[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(ROWS, text.getvalue())


def renewed(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows with today's closed forms beside the simulations they hold."""
    for row in rows:
        yield {**row, **closed_values(evaluate(fleet(row)))}


def sizing(row: Row) -> Sizing:
    """Counts and rate that a row was simulated with."""
    return Sizing(tuple(map(int, row["counts"].split())), float(row["rate_rps"]))


if __name__ == "__main__":
    if sys.argv[1:] == ["--closed"]:
        _write(list(renewed(read_rows())))
    else:
        main(sys.argv[1:])
