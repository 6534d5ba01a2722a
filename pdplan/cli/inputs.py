"""The question on the command line: a scenario file, flags laid over it, or flags alone."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdplan.errors import Problem, SpecError

if TYPE_CHECKING:
    from pdplan.specs.scenario import Scenario

_SERVE = "What is served"
_WISH = "Objectives and limits"
_SHAPE = "What the solver may choose (repeat a flag, or write a,b,c, for several choices)"

SpecsDir = Annotated[
    Path | None,
    typer.Option(
        "--specs",
        metavar="DIR",
        help="Folder with hardware_specs/, models/, workloads/, engines/ of your own.",
        rich_help_panel="Options",
    ),
]


def _serve(text: str, *names: str, metavar: str = "TEXT") -> Any:  # noqa: ANN401  (typer's own)
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=_SERVE)


def _wish(text: str, *names: str, metavar: str = "TEXT") -> Any:  # noqa: ANN401
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=_WISH)


def _choice(text: str, *names: str, metavar: str = "N") -> Any:  # noqa: ANN401
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=_SHAPE)


Text = str | None
Texts = list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that `solve` and `compare` take; None is what was not given."""

    scenario: Annotated[
        Text, typer.Argument(metavar="SCENARIO.yaml", help="Scenario file, or an example's name.")
    ] = None
    model: Annotated[Text, _serve("Model id or path; see `pdplan models list`.")] = None
    hardware: Annotated[
        Texts, _serve("Accelerator id or path, repeatable; see `pdplan hardware list`.")
    ] = None
    engine: Annotated[Text, _serve("Engine profile; default vllm.")] = None
    workload: Annotated[Text, _serve("Workload id or path; see `pdplan workloads list`.")] = None
    rate: Annotated[Text, _serve("Requests a second, or with a unit: '90 req/min'.")] = None
    isl: Annotated[Text, _serve("Prompt tokens.", metavar="N")] = None
    osl: Annotated[Text, _serve("Output tokens.", metavar="N")] = None
    images: Annotated[Text, _serve("Images a request.", metavar="N")] = None
    image_size: Annotated[Text, _serve("Pixels of an image.", metavar="WxH")] = None
    arrival_scv: Annotated[
        Text, _serve("Squared variation of arrivals; Poisson is 1.", metavar="X")
    ] = None
    peak_factor: Annotated[
        Text, _serve("Busiest rate of the day over --rate, its mean.", metavar="X")
    ] = None
    burst: Annotated[
        Text,
        _serve("Bursts: rate over the mean, share of time, length.", metavar="X,SHARE,TIME"),
    ] = None
    prefix_hit: Annotated[
        Text, _serve("Share of prompts in the prefix cache.", metavar="SHARE")
    ] = None
    turns: Annotated[
        Text, _serve("Requests of a session, each with all before it as history.", metavar="N")
    ] = None
    think: Annotated[Text, _serve("Time between an answer and the next turn.", metavar="TIME")] = (
        None
    )
    speculative: Annotated[
        Text,
        _serve(
            "Speculative decoding: drafted tokens, acceptance, mtp, ngram or a model.",
            metavar="N,SHARE,DRAFT",
        ),
    ] = None
    ttft: Annotated[
        Text, _wish("Time to first token: milliseconds, or with a unit: 0.8s.", metavar="TIME")
    ] = None
    tpot: Annotated[
        Text,
        _wish("Mean time per output token, likewise.", "--tpot", "--itl", metavar="TIME"),
    ] = None
    percentile: Annotated[
        Texts,
        _wish("Percentile of both: 50, 90, 95, 99, mean; repeatable; default 90.", metavar="P"),
    ] = None
    objective: Annotated[
        Text,
        _wish(
            "What to minimise (rate: maximise); default cost.",
            metavar="cost|gpus|power|hardware_cost|rate",
        ),
    ] = None
    max_gpus: Annotated[Text, _wish("Accelerators at most.", metavar="N")] = None
    budget: Annotated[Text, _wish("Cost at most, USD/h.", metavar="USD")] = None
    power: Annotated[Text, _wish("Power at most, with its unit: 40 kW.", metavar="POWER")] = None
    stock: Annotated[
        Texts, _wish("Accelerators of a kind to be had, repeatable.", metavar="ID=N")
    ] = None
    price: Annotated[Texts, _wish("Price of a kind, USD/h, repeatable.", metavar="ID=USD")] = None
    provider: Annotated[
        Texts, _wish("Whose listed price of a kind, repeatable.", metavar="ID=NAME")
    ] = None
    whole_nodes: Annotated[
        bool | None,
        typer.Option("--whole-nodes", help="Rent by the node.", rich_help_panel=_WISH),
    ] = None
    placement: Annotated[
        Texts, _choice("PD, P-D, EPD, EP-D, E-P-D, ...; default auto: all.", metavar="TEXT")
    ] = None
    split: Annotated[
        Text,
        _choice("Own pools for classes of requests; default auto.", metavar="auto|never|always"),
    ] = None
    system: Annotated[Text, _choice("A published system's preset.", metavar="NAME")] = None
    role: Annotated[Texts, _choice("Accelerator of a pool: P=h200-sxm.", metavar="STAGES=ID")] = (
        None
    )
    tp: Annotated[Texts, _choice("Tensor parallelism.")] = None
    pp: Annotated[Texts, _choice("Pipeline parallelism.")] = None
    ep: Annotated[Texts, _choice("Expert parallelism.")] = None
    dp: Annotated[Texts, _choice("Attention data parallelism.")] = None
    weight_dtype: Annotated[Texts, _choice("bf16, fp8, ...", metavar="TYPE")] = None
    kv_dtype: Annotated[Texts, _choice("bf16, fp8, ...", metavar="TYPE")] = None
    max_batch: Annotated[Texts, _choice("Sequences of an instance at once.")] = None
    scheduler: Annotated[Texts, _choice("chunked, prefill_first, layered.", metavar="NAME")] = None
    chunk_tokens: Annotated[Texts, _choice("Tokens of a chunk of prefill.")] = None
    routing: Annotated[
        Text, _choice("least_loaded, central, round_robin or random.", metavar="NAME")
    ] = None
    specs: SpecsDir = None

    def overrides(self) -> dict[str, object]:
        """Give the flags the names that scenarios know; their values are checked there."""
        found: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("scenario", "specs", "system", "role") or value is None:
                continue
            found[field.name] = value
            if isinstance(value, list):
                parts = [part.strip() for item in value for part in item.split(",")]
                found[field.name] = ",".join(parts) if field.name == "percentile" else parts
        return found | ({"roles": _roles(self.role)} if self.role else {})

    def read(self) -> "Scenario":
        """Look everything up; raises SpecError."""
        check_folder(self.specs)
        from pdplan.specs.scenario import load_scenario, scenario_from

        if self.scenario is None:
            found = scenario_from({}, self.overrides(), self.specs)
        else:
            found = load_scenario(self.scenario, self.overrides(), self.specs)
        return found if self.system is None else self._with_system(found, self.system)

    def _with_system(self, scenario: "Scenario", name: str) -> "Scenario":
        from pdplan.specs.catalog import plain_name
        from pdplan.specs.system import load_system
        from pdplan.systems import applied

        try:
            return applied(scenario, plain_name(name), load_system(name, self.specs))
        except SpecError as error:
            found = (
                Problem("command line", None, "--system", p) if isinstance(p, str) else p
                for p in error.problems
            )
            raise SpecError(*found) from None


def check_folder(specs: Path | None) -> None:
    """Refuse a folder of specs that is not there."""
    if specs is not None and not specs.is_dir():
        raise SpecError(Problem("command line", None, "--specs", f"no such folder: {specs}"))


def _roles(pairs: list[str]) -> dict[str, dict[str, list[str]]]:
    roles: dict[str, dict[str, list[str]]] = {}
    for pair in pairs:
        stages, equals, name = (part.strip() for part in pair.partition("="))
        if not (stages and equals and name):
            message = f"needs STAGES=ID, for example 'P=h200-sxm'; got '{pair}'"
            raise SpecError(Problem("command line", None, "--role", message))
        roles.setdefault(stages, {"hardware": []})["hardware"].append(name)
    return roles


def takes_inputs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `inputs` all of its flags."""
    own = inspect.signature(command).parameters
    asked = inspect.get_annotations(Inputs)
    params = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=a)
        for f, a in zip(fields(Inputs), asked.values(), strict=True)
    ]
    params += [
        param.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, param in own.items()
        if name != "inputs"
    ]

    def run(**values: Any) -> None:  # noqa: ANN401  (whatever the flags hold)
        given = {name: values.pop(name) for name in asked}
        command(Inputs(**given), **values)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(params)  # type: ignore[attr-defined]
    run.__annotations__ = {param.name: param.annotation for param in params}
    return run
