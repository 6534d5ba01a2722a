"""A scenario with everything looked up: what the planner solves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pdplan.errors import Problem, SpecError
from pdplan.specs.base import validate
from pdplan.specs.catalog import find, plain_name
from pdplan.specs.engine import EngineSpec, load_engine
from pdplan.specs.flags import (
    COMMAND_LINE,
    OF_ARRIVALS,
    SCENARIO_FLAGS,
    WORKLOAD_FLAGS,
    blame,
    blamed,
    overlaid,
    with_hardware,
    with_images,
)
from pdplan.specs.hardware import HardwareSpec, load_hardware
from pdplan.specs.lookup import Lookup
from pdplan.specs.model import ModelSpec, load_model
from pdplan.specs.options import NO_OPTIONS, Options
from pdplan.specs.parallelism import unsplittable
from pdplan.specs.scenario_file import Aim, HardwareUse, RoleSpec, Routing, ScenarioSpec, SearchSpec
from pdplan.specs.source import Document, Key, load_yaml
from pdplan.specs.speculation import Speculation, is_model, speculation
from pdplan.specs.workload import WorkloadSpec

if TYPE_CHECKING:
    from pdplan.specs.traffic import Traffic

DEFAULT_PERCENTILES = (90,)


@dataclass(frozen=True, slots=True)
class HardwareChoice:
    """One kind of accelerator on offer."""

    id: str
    spec: HardwareSpec
    stock: int | None
    usd_per_hour: float | None
    price_source: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What the whole fleet must stay within; None is no limit."""

    max_gpus: int | None = None
    budget_usd_per_hour: float | None = None
    power_w: float | None = None
    whole_nodes: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question, ready to be solved."""

    name: str
    description: str
    model_id: str
    model: ModelSpec
    engine_id: str
    engine: EngineSpec
    speculation: Speculation | None
    options: Options
    workload_id: str
    workload: WorkloadSpec
    workload_folder: Path
    """Where the workload's traces lie."""
    traffic: "Traffic"
    hardware: tuple[HardwareChoice, ...]
    objective: Aim
    limits: Limits
    routing: Routing
    first_token_from: str
    search: SearchSpec
    system: str | None = None
    """The preset that was laid under it."""


def load_scenario(
    path: str | Path, overrides: Mapping[str, object] | None = None, specs_dir: Path | None = None
) -> Scenario:
    """Read a scenario by path or by the name of an example; flags in `overrides` win."""
    document = load_yaml(find("example", str(path), specs_dir))
    return _Builder(document, Path(document.name).parent, specs_dir, overrides or {}).scenario()


def scenario_from(
    mapping: Mapping[str, object],
    overrides: Mapping[str, object] | None = None,
    specs_dir: Path | None = None,
    *,
    folder: Path = Path(),
    source: str = COMMAND_LINE,
) -> Scenario:
    """Build a scenario from the keys of a scenario file, from flags, or from both."""
    document = Document(source, dict(mapping))
    return _Builder(document, folder, specs_dir, overrides or {}).scenario()


class _Builder(Lookup):
    """Turns the keys of a scenario into the things that they name."""

    def scenario(self) -> Scenario:
        spec = self.spec()
        model = self.named(("model",), spec.model, load_model)
        engine = self.named(("engine",), spec.engine, load_engine)
        drafted = self.speculation(spec)
        options = self.attempt(lambda: self.options(spec))
        hardware = [self.hardware(i, use, spec) for i, use in enumerate(spec.hardware)]
        self.roles(spec)
        if spec.whole_nodes and spec.limits.budget is not None and spec.objective != "cost":
            self.wrong(("whole_nodes",), "with a budget needs the cost objective")
        if model is not None:
            self.shapes(spec, model)
        asked = self.attempt(lambda: self.workload(spec))
        built = self.attempt(lambda: self.traffic(spec, *asked[1:])) if asked else None
        if self.problems:
            raise SpecError(*self.problems)
        assert model is not None
        assert engine is not None
        assert asked is not None
        assert built is not None
        return Scenario(
            name=spec.name or Path(self.document.name).stem,
            description=spec.description,
            model_id=plain_name(spec.model),
            model=model,
            engine_id=plain_name(spec.engine),
            engine=engine,
            speculation=drafted,
            options=options or NO_OPTIONS,
            workload_id=asked[0],
            workload=asked[1],
            workload_folder=asked[2],
            traffic=built,
            hardware=tuple(choice for choice in hardware if choice is not None),
            objective=spec.objective,
            limits=Limits(
                max_gpus=spec.limits.max_gpus,
                budget_usd_per_hour=spec.limits.budget,
                power_w=spec.limits.power,
                whole_nodes=spec.whole_nodes,
            ),
            routing=spec.routing,
            first_token_from=spec.first_token_from,
            search=spec.search,
        )

    def spec(self) -> ScenarioSpec:
        file = self.document.data
        data = with_hardware(
            overlaid(file, self.flags, SCENARIO_FLAGS), self.flags, file.get("hardware")
        )
        if "workload" not in data and WORKLOAD_FLAGS.keys() & self.flags.keys():
            data["workload"] = {}
        try:
            return validate(self.document, ScenarioSpec, data)
        except SpecError as error:
            raise self.blamed(error) from None

    def speculation(self, spec: ScenarioSpec) -> Speculation | None:
        """Look up what drafts tokens."""
        asked = spec.speculative
        if asked is None:
            return None
        if not is_model(asked.draft):
            return speculation(asked, None)
        model = self.named(("speculative", "draft"), asked.draft, load_model)
        return None if model is None else speculation(asked, model)

    def options(self, spec: ScenarioSpec) -> Options:
        """Read what is added to the placement."""
        if not spec.options:
            return NO_OPTIONS
        return validate(self.document, Options, spec.options, ("options",))

    def hardware(self, i: int, use: HardwareUse, spec: ScenarioSpec) -> HardwareChoice | None:
        key: Key = ("hardware", i)
        ids = [plain_name(other.id) for other in spec.hardware[:i]]
        if plain_name(use.id) in ids:
            self.wrong(key, f"'{plain_name(use.id)}' is listed twice")
        found = self.named(key, use.id, load_hardware)
        if found is None:
            return None
        listed = found.price(use.provider)
        if use.provider is not None and listed is None:
            known = ", ".join(sorted(price.provider for price in found.prices)) or "none"
            self.wrong(key, f"no price by provider '{use.provider}'; listed: {known}")
            return None
        choice = HardwareChoice(
            id=plain_name(use.id),
            spec=found,
            stock=use.stock,
            usd_per_hour=use.price or (listed.price if listed else None),
            price_source="user" if use.price else listed.told if listed else "",
        )
        self.measurable(key, choice, spec)
        return choice

    def measurable(self, key: Key, choice: HardwareChoice, spec: ScenarioSpec) -> None:
        """Costs need prices and power needs board powers."""
        costs = spec.objective == "cost" or spec.limits.budget is not None
        if choice.usd_per_hour is None and costs:
            self.wrong(
                key,
                f"'{choice.id}' has no price; add one (hardware: [{{id: {choice.id}, price: "
                f"2.00 USD/h}}] or --price {choice.id}=2.00), or use another objective than cost "
                "and no budget",
            )
        if choice.spec.relative_cost is None and spec.objective == "hardware_cost":
            message = f"'{choice.id}' has no relative_cost; add it to its file, or aim at another"
            self.wrong(key, message)
        powers = spec.objective == "power" or spec.limits.power is not None
        if choice.spec.power is None and powers:
            self.wrong(key, f"'{choice.id}' has no board power; use no power objective or limit")

    def roles(self, spec: ScenarioSpec) -> None:
        listed = [use.id for use in spec.hardware]
        for stages, role in spec.search.roles.items():
            for name in role.hardware:
                if name not in listed:
                    message = f"'{name}' is not among the hardware: {', '.join(listed)}"
                    self.wrong(("search", "roles", stages, "hardware"), message)

    def shapes(self, spec: ScenarioSpec, model: ModelSpec) -> None:
        """Refuse degrees of parallelism that are asked for and cannot be."""
        places: list[tuple[Key, SearchSpec | RoleSpec]] = [(("search",), spec.search)]
        places += [(("search", "roles", s), role) for s, role in spec.search.roles.items()]
        for at, asked in places:
            for name in asked.model_fields_set & {"tp", "pp", "ep", "dp"}:
                for degree in getattr(asked, name):
                    problem = unsplittable(model, **{name: degree})
                    if problem is not None:
                        self.wrong((*at, name), problem)

    def workload(self, spec: ScenarioSpec) -> tuple[str, WorkloadSpec, Path]:
        """Read the workload and lay the flags over it; its folder is where its traces lie."""
        document, folder, data = self.document, self.folder, spec.workload
        at: Key = ("workload",)
        if isinstance(data, str):
            path = self.named(at, data, _find_workload)
            if path is None:
                raise SpecError
            document, folder, at = load_yaml(path), path.parent, ()
            data = document.data
        assert isinstance(data, dict)
        flags = {flag: value for flag, value in self.flags.items() if flag in WORKLOAD_FLAGS}
        if flags.keys() - set(OF_ARRIVALS) and "classes" in data:
            message = "the workload has classes; change them in its file"
            raise blame(message, flag=next(flag for flag in flags if flag not in OF_ARRIVALS))
        places = {flag: key for flag, key in WORKLOAD_FLAGS.items() if key[0] != "images"}
        data = with_images(overlaid(data, flags, places), flags)
        missing = [key for key in ("isl", "osl") if key not in data]
        if flags and missing and "classes" not in data:
            message = "missing; give it, or a workload (--workload)"
            raise SpecError(*(p for key in missing for p in blame(message, flag=key).problems))
        try:
            workload = validate(document, WorkloadSpec, data, at)
        except SpecError as error:
            raise blamed(error, flags, WORKLOAD_FLAGS, at) from None
        name = spec.workload if isinstance(spec.workload, str) else workload.name or "custom"
        workload = workload.replace(ttft=spec.ttft, tpot=spec.tpot, percentile=spec.percentile)
        return plain_name(name), workload, folder

    def traffic(self, spec: ScenarioSpec, workload: WorkloadSpec, folder: Path) -> "Traffic":
        """Build the request points."""
        from pdplan.specs.traffic import traffic  # numpy costs start-up time

        rate = spec.rate or workload.rate
        if rate is None:
            message = "missing; add for example 'rate: 20 req/s' or give --rate"
            raise SpecError(Problem(self.document.name, None, "rate", message))
        return traffic(workload, rate, folder, percentiles=DEFAULT_PERCENTILES)


def _find_workload(name: str, specs_dir: Path | None) -> Path:
    return find("workload", name, specs_dir)
