"""The first lines of a plan: the question, the answer and how sure it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from pdplan.plan import Plan, Target
from pdplan.report.numbers import dollars, duration, percent, significant

_AIMS = {
    "cost": "Least cost",
    "gpus": "Least number of GPUs",
    "power": "Least power",
    "hardware_cost": "Least hardware cost",
    "rate": "Largest rate",
}


def headline(plan: Plan) -> tuple[str, ...]:
    """Write what was asked, what is wanted and what came out."""
    return tuple(line for line in (_question(plan), _wishes(plan), _answer(plan)) if line)


def _question(plan: Plan) -> str:
    name = str(plan.workload.get("name") or "traffic")
    rate = plan.prediction.rate_rps if plan.prediction else None
    stated = plan.workload.get("rate")
    shown = f"{significant(rate)} req/s" if rate is not None else str(stated) if stated else ""
    lengths = traffic_words(plan.workload)
    about = f" ({lengths})" if lengths else ""
    return f"{plan.model} on {plan.engine}: {name}{' at ' + shown if shown else ''}{about}"


def _wishes(plan: Plan) -> str:
    targets = plan.prediction.targets if plan.prediction else ()
    several = len({target.request_class for target in targets}) > 1
    wishes = [
        f"{target.request_class} {objective_words(target)}" if several else objective_words(target)
        for target in targets
    ]
    aim = _AIMS.get(plan.objective.name, f"Least {plan.objective.name}")
    if not plan.given and plan.pools:
        return aim + (f" with {', '.join(wishes)}" if wishes else "")
    return f"Objectives: {', '.join(wishes)}" if wishes else ""


def objective_words(target: Target) -> str:
    """Write an objective; the class is left to the table that it stands in."""
    return f"{target.what} <= {duration(target.objective_s)}"


def _answer(plan: Plan) -> str:
    if not plan.pools:
        return "No feasible plan"
    bill = [f"{plan.gpus} GPU" + ("" if plan.gpus == 1 else "s")]
    if plan.cost_usd_per_hour is not None:
        bill.append(f"${dollars(plan.cost_usd_per_hour)}/h")
    system = f" [{plan.system}]" if plan.system else ""
    return f"{plan.placement} {plan.label}{system}: {', '.join(bill)}; {proof(plan)}"


def proof(plan: Plan) -> str:
    """Write how sure it is that nothing better exists."""
    if plan.given:
        return (
            "as given, " + ("meets" if plan.status == "feasible" else "misses") + " its objectives"
        )
    gap = plan.objective.gap
    bound = "" if gap is None else f", gap {percent(gap)}"
    if plan.status == "optimal":
        return f"proven optimal{bound}"
    return f"feasible, not proven optimal{bound}"


def traffic_words(workload: Mapping[str, Any]) -> str:
    """Write lengths and media of a workload file's keys.

    >>> traffic_words({"isl": {"lognormal": {"mean": 1500, "cv": 1.0}}, "osl": 250})
    'isl 1,500 cv 1, osl 250'
    """
    classes = workload.get("classes") or ()
    if classes:
        return f"{len(classes)} classes: {', '.join(str(item['name']) for item in classes)}"
    found = [f"{key} {length_words(workload[key])}" for key in ("isl", "osl") if workload.get(key)]
    return ", ".join([*found, *media_words(workload)])


def length_words(length: object) -> str:
    """Write a length as in a workload file: `1500`, `{lognormal: {mean, cv}}`, ..."""
    if isinstance(length, int | float):
        return significant(float(length), 4)
    if not isinstance(length, Mapping):
        return "-"
    forms = [(str(k), v) for k, v in length.items() if v is not None]
    name: str = forms[0][0] if forms else "fixed"
    inner: Any = forms[0][1] if forms else 0.0
    if name == "lognormal":
        return f"{significant(inner['mean'], 4)} cv {significant(inner.get('cv', 0.0))}"
    if name == "uniform":
        return f"{significant(inner['min'], 4)}..{significant(inner['max'], 4)}"
    if name == "histogram":
        return f"{significant(_mean(inner['values'], inner['weights']), 4)} on average"
    return significant(float(inner), 4) if name == "fixed" else f"of {inner}"


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    pairs = zip(values, weights, strict=True)
    return sum(value * weight for value, weight in pairs) / (sum(weights) or 1.0)


def media_words(workload: Mapping[str, Any]) -> list[str]:
    """Write images, sound and video of a request."""
    images, audio, video = (workload.get(key) for key in ("images", "audio", "video"))
    found = []
    if images:
        size = f" ({images['width']}x{images['height']})" if images.get("width") else ""
        found.append(f"images {length_words(images['count'])}{size}")
    if audio:
        found.append(f"audio seconds {length_words(audio['seconds'])}")
    if video:
        found.append(f"video seconds {length_words(video['seconds'])}")
    return found
