"""Published systems as files: a placement, the options that it adds, and where it is from."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pdplan.specs.base import Spec, validate
from pdplan.specs.catalog import bundled, find
from pdplan.specs.options import NO_OPTIONS, Options
from pdplan.specs.scenario_file import Aim, Names, Placements, Routing, SearchSpec
from pdplan.specs.source import load_yaml

Text = Annotated[str, Field(min_length=1)]


class SystemSpec(Spec):
    """One published system; what it leaves out is as the scenario says."""

    title: Text
    citation: Text
    """Authors, venue, year."""
    source: Text
    """Where to read it."""
    code: str | None = None
    placement: Annotated[Placements, Field(min_length=1)]
    """One, or several of which the best is taken."""
    options: Options = NO_OPTIONS
    search: SearchSpec = SearchSpec()
    routing: Routing | None = None
    first_token_from: Annotated[str, Field(pattern="^(decode|prefill)$")] | None = None
    objective: Aim | None = None
    example: Text
    """Scenario of the examples in the setting of its publication."""
    relatives: Names = ()
    """Systems that it is compared with."""
    reduces_to: str = ""
    """What it is the same as, and when."""
    limits: str = ""
    """What its authors say it is not for."""
    covers: str = ""
    not_covered: str = ""

    @property
    def placements(self) -> str:
        """All of its placements in one text."""
        return ", ".join(self.placement)

    def options_text(self) -> dict[str, Any]:
        """What it adds to the placement, as its file says it."""
        found = self.options.text()
        set_keys = self.search.model_fields_set
        if set_keys:
            found["search"] = {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in ((key, getattr(self.search, key)) for key in sorted(set_keys))
            }
        found |= {
            key: getattr(self, key)
            for key in ("routing", "first_token_from", "objective")
            if getattr(self, key) is not None
        }
        return found


def load_system(name: str, specs_dir: Path | None = None) -> SystemSpec:
    """Read a system by name or by path; raises SpecError."""
    path = find("system", name, specs_dir)
    return validate(load_yaml(path), SystemSpec).marked(own=not bundled(path))
