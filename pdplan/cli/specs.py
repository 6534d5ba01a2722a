"""`hardware`, `models`, `workloads`, `engines`: look at specs, check them, bring in new ones."""

from collections.abc import Callable
from typing import Annotated

import typer

from pdplan.cli.importing import import_config
from pdplan.cli.importing_traces import import_trace
from pdplan.cli.inputs import SpecsDir, check_folder
from pdplan.cli.output import Form, Format, say, say_blocks, say_grid, tell
from pdplan.cli.pages import Page
from pdplan.errors import PdplanError, SpecError
from pdplan.report import render

_GROUPS = {
    "hardware": ("hardware", "Accelerators: rates, memory, links, prices.", "h100-sxm"),
    "models": ("model", "Models: architecture, parameters, KV, encoders.", "llama-3.1-70b"),
    "workloads": ("workload", "Workloads: arrivals, lengths, media, objectives.", "chat"),
    "engines": ("engine", "Engine profiles: what software achieves on silicon.", "vllm"),
    "systems": ("system", "Published systems: presets for solve --system.", "epd"),
}


def register(app: typer.Typer) -> None:
    """Add a group for each kind of spec."""
    for group, (kind, text, example) in _GROUPS.items():
        sub = typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)
        call = f"\b\nExample:\n  pdplan {group}"
        sub.command("list", cls=Page, epilog=f"{call} list --format md")(_list(kind))
        sub.command("show", cls=Page, epilog=f"{call} show {example}")(_show(kind))
        sub.command("check", cls=Page, epilog=f"{call} check my-specs/*.yaml")(_check(kind))
        sub.command("schema", cls=Page, epilog=f"{call} schema > {kind}.schema.json")(_schema(kind))
        if kind == "model":
            example = f"{call} import config.json --name my-model -o models/my-model.yaml"
            sub.command("import", cls=Page, epilog=example)(import_config)
        if kind == "workload":
            example = f"{call} import trace.csv -o workloads/mine.yaml --plot mine.html"
            sub.command("import", cls=Page, epilog=example)(import_trace)
        app.add_typer(sub, name=group)


def _list(kind: str) -> Callable[..., None]:
    def listing(specs: SpecsDir = None, form: Form = Format.table) -> None:
        """List what is known by name."""
        check_folder(specs)
        from pdplan.cli.listing import listing as rows

        say_grid(rows(kind, specs), form)

    return listing


def _show(kind: str) -> Callable[..., None]:
    def show(
        name: Annotated[str, typer.Argument(metavar="NAME", help="Id or path.")],
        specs: SpecsDir = None,
        form: Form = Format.table,
    ) -> None:
        """Show one, with its sources; json and yaml have the keys of its file."""
        check_folder(specs)
        from pdplan.cli.catalog import load, raw
        from pdplan.cli.showing import blocks, fields

        spec = load(kind, name, specs)
        data = raw(kind, name, specs)
        if form in (Format.json, Format.yaml):
            say(render.render_data(data, form.value))
        elif form is Format.csv:
            say_grid(fields(data), form)
        else:
            say_blocks(blocks(kind, spec, data), form)

    return show


def _check(kind: str) -> Callable[..., None]:
    def check(
        paths: Annotated[
            list[str] | None,
            typer.Argument(metavar="[PATH]...", help="Files or folders; default all known."),
        ] = None,
        specs: SpecsDir = None,
    ) -> None:
        """Check files and say all that is wrong with them."""
        check_folder(specs)
        from pdplan.cli.catalog import check_deeper, load, targets

        problems: list[object] = []
        for target in targets(kind, paths or [], specs):
            try:
                check_deeper(kind, target, load(kind, target, specs), specs)
            except SpecError as error:
                problems += error.problems
            except PdplanError as error:
                problems.append(error)
            else:
                say(f"{target}: ok\n")
        for problem in problems:
            tell(str(problem))
        if problems:
            raise typer.Exit(2)

    return check


def _schema(kind: str) -> Callable[..., None]:
    def schema() -> None:
        """Print the JSON schema of such a file, for editors."""
        from pdplan.cli.catalog import schema_of

        say(render.render_data(schema_of(kind).model_json_schema(), "json"))

    return schema
