"""`models import`: a spec from a Hugging Face `config.json`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pdplan.cli.output import say, tell
from pdplan.errors import Problem, SpecError
from pdplan.report.files import check_writable, write_file


def import_config(
    config: Annotated[str, typer.Argument(metavar="CONFIG.json", help="From the model's page.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name; default the folder's.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write there.")
    ] = None,
) -> None:
    """Turn a Hugging Face config.json into a model file; what it leaves open is told on stderr."""
    check_writable(output)
    data = _json(config)
    from pdplan.specs.base import validate
    from pdplan.specs.huggingface import dump_yaml, from_huggingface
    from pdplan.specs.model import ModelSpec
    from pdplan.specs.source import Document

    path = Path(config)
    usual = path.resolve().parent.name if path.stem == "config" else path.stem
    mapping, unknown = from_huggingface(data, name or usual)
    mapping = {"name": name or mapping.get("name") or usual} | mapping
    if name is not None:
        mapping["name"] = name
    validate(Document(config, mapping), ModelSpec)
    for text in unknown:
        tell(f"note: {text}")
    if output is None:
        say(dump_yaml(mapping))
    else:
        write_file(output, dump_yaml(mapping))
        tell(f"wrote {output}")


def _json(name: str) -> dict[str, Any]:
    import json

    from pdplan.specs.source import read_text

    try:
        data = json.loads(read_text(Path(name)))
    except json.JSONDecodeError as error:
        message = f"is not valid JSON: {error.msg}"
        raise SpecError(Problem(name, error.lineno, "", message)) from None
    except (RecursionError, ValueError) as error:
        raise SpecError(Problem(name, None, "", f"is not valid JSON: {error}")) from None
    if not isinstance(data, dict):
        raise SpecError(Problem(name, None, "", "expected a JSON object"))
    return data
