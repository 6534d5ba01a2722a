"""A profile moved as far as measurements tell, and no constant further than that."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.calibration.advice import advice
from pdplan.calibration.constants import constants, law, matches
from pdplan.calibration.fit import NOISE, Estimate, Fit, fit
from pdplan.calibration.numbers import Numbers
from pdplan.calibration.score import Score, scores
from pdplan.errors import Problem, SpecError
from pdplan.physics.roofline import Floats
from pdplan.specs.base import suggestion
from pdplan.specs.engine import EngineSpec

QUICK, FULL = 8, 30
"""Rounds of a fit that only asks which constants are told, and of the last one."""
IMPLAUSIBLE = 3.0
"""Standard deviations of what is expected before measuring."""
MOST_REASONS = 12
"""Constants named one by one in a refusal."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A profile calibrated to measurements; constants that they do not tell are the base's."""

    base: EngineSpec
    engine: EngineSpec
    data: Numbers
    estimates: dict[str, Estimate]
    """Of the constants that the measurements identify, by `generation:path`."""
    untold: dict[str, Estimate]
    """Of those that move some prediction and were left alone: what was found before giving up."""
    unfelt: tuple[str, ...]
    """Constants that move no prediction."""
    before: Floats
    """Predictions of the base profile."""
    after: Floats
    kept: NDArray[np.bool_]
    """Which numbers it stands on; the others are outliers."""

    def errors(self, predicted: Floats, *by: str) -> list[Score]:
        """Score predictions of what is no outlier."""
        return scores(self.data, predicted, by, self.kept)

    @property
    def implausible(self) -> dict[str, float]:
        """Constants further from the base's than is plausible, and by what factor."""
        return {
            name: each.value / each.before
            for name, each in self.estimates.items()
            if each.before
            and abs(np.log(each.value / each.before))
            > IMPLAUSIBLE * law(name.partition(":")[2]).spread
        }

    @property
    def identified(self) -> list[str]:
        """Generations with constants of their own."""
        return sorted({name.partition(":")[0] for name in self.estimates})


def calibrate(
    data: Numbers,
    base: EngineSpec,
    *,
    only: Collection[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Fit the constants that the measurements identify, or `only` those of them that match.

    Raises SpecError where none is identified, or none of a name in `only`.
    """
    names = [f"{g}:{path}" for g in data.generations for path in constants(base.constants(g)[0])]
    check_names(only, names)
    wanted = [name for name in names if not only or any(matches(name, each) for each in only)]
    untold: dict[str, Estimate] = {}
    found, trying = Fit(base, {}, data.predicted(base), np.ones(len(data), bool)), wanted
    rounds = QUICK
    while trying:
        found = fit(data, base, only=trying, noise=noise(data), rounds=rounds)
        if not found.estimates:
            break
        rest = {name: each for name, each in found.estimates.items() if not each.told}
        progress(f"constants fitted: {len(found.estimates)}, of them not identified: {len(rest)}")
        if not rest and rounds == FULL:
            break
        if not rest:
            rounds = FULL
            continue
        worst = sorted(rest, key=lambda name: (-rest[name].share, name))[: (len(rest) + 1) // 2]
        untold |= {name: rest[name] for name in worst}
        trying = [name for name in found.estimates if name not in worst]
    estimates = found.estimates if trying else {}  # the last fit was of untold ones
    missed = [each for each in only if not any(matches(name, each) for name in estimates)]
    if missed or not estimates:
        silent = [n for n in wanted if not missed or any(matches(n, each) for each in missed)]
        start = "" if estimates else "nothing to calibrate: "
        count = f"these {len(data)} numbers" if len(data) != 1 else "this number"
        message = f"{start}not identified by {count}:"
        raise SpecError(message, *_reasons(silent, untold))
    return Calibration(
        base=base,
        engine=_without_borrowed(found.engine, base, {n.partition(":")[0] for n in estimates}),
        data=data,
        estimates=estimates,
        untold={name: untold[name] for name in wanted if name in untold},
        unfelt=tuple(n for n in wanted if n not in estimates and n not in untold),
        before=data.predicted(base),
        after=found.predicted,
        kept=found.kept,
    )


def noise(data: Numbers) -> Floats:
    """Error to expect of each number [N]: statistics of one thing in one run count as one.

    A run's TTFT percentiles fail together, and so do its throughput and its E2E.
    """
    kinds = [name[:4] if name.startswith(("ttft", "tpot")) else "run" for name in data.names]
    groups = list(zip(data.index.tolist(), kinds, strict=True))
    alike = Counter(groups)
    return NOISE * np.sqrt([float(alike[group]) for group in groups])


def check_names(only: Collection[str], names: Collection[str]) -> None:
    """Refuse names that mean no constant, and name those that are near."""
    paths = sorted({name.partition(":")[2] for name in names})
    starts = {path.rpartition(".")[0] for path in paths} | {path.split(".")[0] for path in paths}
    known = [*sorted(starts), *paths]
    problems = []
    for each in only:
        if not any(matches(name, each) for name in names):
            path = each.rpartition(":")[2]
            ends = [one for one in known if path and one.endswith(f".{path}")]
            hint = f"; did you mean {' or '.join(map(repr, ends[:4]))}?" if ends else ""
            hint = hint or suggestion(path, known) or f"; known: {', '.join(sorted(starts))}"
            message = f"no constant '{each}' of what was measured{hint}"
            problems.append(Problem("command line", None, "--only", message))
    if problems:
        raise SpecError(*problems)


def _reasons(silent: Collection[str], untold: dict[str, Estimate]) -> list[str]:
    """Say of each constant why it is not identified and what would tell it."""
    lines = []
    felt = [name for name in silent if name in untold]
    for name in felt[:MOST_REASONS]:
        left = f"{untold[name].share:.0%} of its uncertainty is left"
        lines.append(f"{name}: {left}; {advice(name.partition(':')[2])}")
    if len(felt) > MOST_REASONS:
        lines.append(f"and {len(felt) - MOST_REASONS} more")
    reasons: dict[str, list[str]] = {}
    for name in silent:
        if name not in untold:
            reasons.setdefault(advice(name.partition(":")[2]), []).append(name.partition(":")[2])
    for reason, paths in reasons.items():
        some = list(dict.fromkeys(paths))[:MOST_REASONS]
        these = "it" if len(some) == 1 else "them"
        lines.append(f"{', '.join(some)}: no prediction depends on {these}; {reason}")
    return lines


def _without_borrowed(
    engine: EngineSpec, base: EngineSpec, identified: Collection[str]
) -> EngineSpec:
    """Leave out generations that were measured, told nothing, and are not the base's own."""
    own = {g: c for g, c in engine.generations.items() if g in base.generations or g in identified}
    rest = {g: source for g, source in base.transferred.items() if g not in own}
    return engine.model_copy(update={"generations": own, "transferred": rest})
