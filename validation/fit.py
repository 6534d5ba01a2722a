"""`python -m validation.fit [ENGINE...]`: fit the engine profiles and score them held out.

With `--describe` only what profiles say of themselves is written anew: errors, intervals, sources.

Writes engines/*.yaml, and what each group's measurements look like when it is predicted from the
others' into validation/held_out.csv. A profile starts from kernels and literature; those with
`like` first learn from the runs of engines of their time, then from their own.
"""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from pdplan.calibration.fit import Fit, fit, uncertainty
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.observations import Observations
from pdplan.calibration.profile import profile_text
from pdplan.calibration.score import scores
from pdplan.report.files import write_file
from pdplan.specs.engine import EngineSpec, Overhead, load_engine
from validation.recipes import BY_NAME, RECIPES, Recipe, start

ENGINES = Path(__file__).parents[1] / "engines"
HELD_OUT = Path(__file__).parent / "held_out.csv"
COLUMNS = ("engine", "left_out", "group", "output", "points", "mape", "bias")
NOISE = {"ttft_mean_s": 0.3, "output_tokens_per_s_per_gpu": 0.12}
"""What is expected of the model, as a logarithm; 0.08 of all else."""
NEAR = 0.5
"""How far an engine may stray from its kin, of how far it may from kernels."""

Key = Callable[[Measured], str]


def observed(rows: Sequence[Measured]) -> Observations:
    """Rows under an engine's name that always exists; the profile to try is given each time."""
    return Observations([replace(m, row={**m.row, "engine": "vllm"}) for m in rows])


def noise(data: Observations, independent: int = 4) -> np.ndarray:
    """Expected error of every number.

    Runs of a model on an accelerator share what the model gets wrong about them, so that beyond a
    `independent` few they count no more: without this, a fit follows its largest groups away from
    the kernels.
    """
    groups = [
        (run_group(data.measured[i]), data.measured[i].row.get("tp"), label)
        for i, label in zip(data.index, data.labels, strict=True)
    ]
    count = Counter(groups)
    alone = np.array([NOISE.get(name, 0.08) for name in data.names])
    return alone * np.sqrt([max(count[group] / independent, 1.0) for group in groups])


def train(recipe: Recipe, rows: Sequence[Measured], rounds: int = 30) -> Fit:
    """Fit a recipe's profile to some of its rows."""
    base, near = start(recipe), 1.0
    if recipe.like:
        kin = [*rows, *(m for name in recipe.like for m in BY_NAME[name].data())]
        everything = observed([m for m in kin if m.row["phase"] == "serve"])
        hopper = everything.only(
            np.array([everything.said(i, "generation") == "hopper" for i in everything.index])
        )
        base = fit(hopper, base, noise=2 * noise(hopper), stiff=SERVER, rounds=8).engine
        base = alike(base, base.generations["hopper"].overhead)
        base = fit(
            everything, base, noise=2 * noise(everything), spread=NEAR, stiff=SERVER, rounds=8
        ).engine
        near = NEAR
    data = observed(rows)
    stiff = SERVER if recipe.like else ()
    return fit(
        data, base, noise=noise(data, recipe.independent), spread=near, stiff=stiff, rounds=rounds
    )


def alike(engine: EngineSpec, overhead: Overhead) -> EngineSpec:
    """The profile with the same host work on every accelerator: it is the same software."""
    generations = {
        name: one.model_copy(update={"overhead": overhead})
        for name, one in engine.generations.items()
    }
    return engine.model_copy(update={"generations": generations})


def train_on_all(name: str) -> Fit:
    """Fit a recipe's profile to everything it has."""
    return train(BY_NAME[name], BY_NAME[name].data())


def run_group(m: Measured) -> str:
    """Model and hardware of a run."""
    return f"{m.row['model']} on {m.row['hardware']}"


def model_of(m: Measured) -> str:
    """Its model."""
    return m.row["model"]


def tp_of(m: Measured) -> str:
    """Its tensor parallelism."""
    return f"TP {m.row.get('tp', '1')}"


def hardware_of(m: Measured) -> str:
    """Its accelerator."""
    return m.row["hardware"]


SERVER = ("overhead.request", "overhead.clump", "overhead.prefill_layer", "overhead.prefill_launch")
"""Of the server and the harness: one benchmark's do not tell another's, so they hardly move."""
ESTIMATED = ("cdna3", "unmeasured")
"""Generations without kernel measurements, which stay on the safe side."""
LEFT_OUT: dict[str, dict[str, Key]] = {
    "run": {"model and hardware": run_group},
    "pass": {"model": model_of, "TP": tp_of, "GPU": hardware_of},
}


def held_out(task: tuple[str, str, str]) -> list[dict[str, object]]:
    """Predict one group of a recipe's measurements from all others."""
    name, what, group = task
    recipe = BY_NAME[name]
    key = LEFT_OUT[recipe.kind][what]
    rows = recipe.data()
    test = [m for m in rows if key(m) == group]
    others = [m for m in rows if key(m) != group]
    found = train(recipe, others, rounds=8)
    data = observed(test)
    return [
        {
            "engine": name,
            "left_out": what,
            "group": group,
            "output": score.output,
            "points": score.points,
            "mape": f"{score.mape:.4f}",
            "bias": f"{score.bias:.4f}",
        }
        for score in scores(data, data.predicted(found.engine))
    ]


def tasks(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Every group that can be left out: those whose kind has at least two."""
    found = []
    for what, key in LEFT_OUT[recipe.kind].items():
        groups = sorted({key(m) for m in recipe.data()})
        found += [(recipe.name, what, group) for group in groups if len(groups) > 1]
    return found


def described(
    recipe: Recipe, engine: EngineSpec, rows: Sequence[Mapping[str, object]]
) -> EngineSpec:
    """The profile with what its constants stand on; `rows` are its held-out errors."""
    data = observed(recipe.data())
    told = uncertainty(data, engine, noise(data, recipe.independent)).estimates
    first = start(recipe)
    generations = dict(engine.generations)
    for name in data.generations:
        part = data.only(np.array([data.said(i, "generation") == name for i in data.index]))
        own = {k.split(":")[1]: e for k, e in told.items() if k.startswith(f"{name}:") and e.told}
        generations[name] = generations[name].model_copy(
            update={
                "origin": "fitted",
                "points": len(part),
                "source": f"Fitted on {recipe.sources}. Starting from: "
                + first.generations[name].source,
                "error": "Held out: of this engine, over all its generations.",
                "measured": tuple(sorted({p.shape.hardware for p in part.points})),
                "in_sample": _errors(part, engine),
                "held_out": {k: v for k, v in _mean(rows).items() if k in part.labels},
                "intervals": {
                    path: (float(f"{e.low:.3g}"), float(f"{e.high:.3g}")) for path, e in own.items()
                },
            }
        )
    lent = generations["hopper" if "hopper" in data.generations else data.generations[0]].overhead
    for name in set(generations) - set(data.generations):
        own_work = first.generations[name].overhead
        generations[name] = generations[name].model_copy(
            update={
                "overhead": _slower(own_work, lent) if name in ESTIMATED else lent,
                "source": f"{first.generations[name].source} Overheads: this engine's elsewhere.",
                "origin": "literature",
                "points": first.generations[name].points,
                "error": first.generations[name].error,
            }
        )
    return engine.model_copy(update={"generations": generations})


def _slower(one: Overhead, other: Overhead) -> Overhead:
    """The larger of each."""
    names = type(one).model_fields
    return one.model_copy(update={n: max(getattr(one, n), getattr(other, n)) for n in names})


def _errors(data: Observations, engine: EngineSpec) -> dict[str, float]:
    found = scores(data, data.predicted(engine))
    return {score.output: round(score.mape, 3) for score in found}


def _mean(rows: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """Mean over points, of the kind of group that is hardest."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        label = str(row["output"])
        pair = (float(str(row["mape"])), float(str(row["points"])))
        found.setdefault(label, {}).setdefault(str(row["left_out"]), []).append(pair)
    return {
        label: round(
            max(sum(e * n for e, n in p) / sum(n for _, n in p) for p in kinds.values()), 3
        )
        for label, kinds in found.items()
    }


def main(names: Sequence[str]) -> None:
    """Fit and score the named recipes, or all."""
    chosen = [recipe for recipe in RECIPES if not names or recipe.name in names]
    with Pool(2) as pool:
        fits = pool.map_async(train_on_all, [recipe.name for recipe in chosen], chunksize=1)
        work = [task for recipe in chosen for task in tasks(recipe)]
        scored: list[dict[str, object]] = []
        for task, part in zip(work, pool.imap(held_out, work), strict=True):
            sys.stderr.write(f"{' '.join(task)}\n")
            scored += part
        trained = fits.get()
    rows = [r for r in read_held_out() if r["engine"] not in {recipe.name for recipe in chosen}]
    rows += [{column: str(row[column]) for column in COLUMNS} for row in scored]
    lines = [",".join(COLUMNS)]
    lines += [",".join(row.values()) for row in sorted(rows, key=lambda r: [*r.values()][:4])]
    write_file(HELD_OUT, "\n".join(lines) + "\n")
    for recipe, result in zip(chosen, trained, strict=True):
        write(recipe, result.engine)


def write(recipe: Recipe, engine: EngineSpec) -> None:
    """Write a profile with its errors."""
    mine = [row for row in read_held_out() if row["engine"] == recipe.name]
    write_file(ENGINES / f"{recipe.name}.yaml", profile_text(described(recipe, engine, mine)))


def read_held_out() -> list[dict[str, str]]:
    """Errors of groups predicted from the others; none before the first fit."""
    if not HELD_OUT.exists():
        return []
    with HELD_OUT.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--describe"]:
        for known in RECIPES:
            write(known, load_engine(known.name).marked(own=False))
    else:
        main(sys.argv[1:])
