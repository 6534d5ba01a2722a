"""Flags for what measurement files do not say: the input columns of `predict`."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

PANEL = "What was run, where the files do not say"
HINTS = {
    "model": ("TEXT", "Model id or path."),
    "hardware": ("TEXT", "Accelerator id or path."),
    "phase": ("TEXT", "prefill, decode, encode, transfer, static or serve."),
    "tp": ("N", "Tensor parallelism."),
    "pp": ("N", "Pipeline parallelism."),
    "ep": ("N", "Expert parallelism."),
    "moe_tp": ("N", "Tensor parallelism inside an expert."),
    "dp": ("N", "Attention data parallelism."),
    "weight_dtype": ("TYPE", "bf16, fp8, ..."),
    "moe_dtype": ("TYPE", "Of the experts."),
    "kv_dtype": ("TYPE", "bf16, fp8, ..."),
    "rate": ("RATE", "Requests a second, open loop."),
    "concurrency": ("N", "Requests at a time, closed loop."),
    "requests": ("N", "Requests of the whole run."),
    "batch": ("N", "Sequences at once."),
    "isl": ("N", "Prompt tokens."),
    "context": ("N", "Tokens in the cache in a decode step."),
    "osl": ("N", "Output tokens."),
    "prefix": ("N", "Cached tokens of the prompt."),
    "images": ("N", "Images a request."),
    "image_width": ("N", "Pixels."),
    "image_height": ("N", "Pixels."),
    "bytes": ("SIZE", "Bytes of a transfer."),
}


def takes_hints(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `hints` a flag for each of them."""
    own = inspect.signature(command).parameters
    params = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.values()]
    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None, typer.Option(metavar=metavar, help=text, rich_help_panel=PANEL)
            ],
        )
        for name, (metavar, text) in HINTS.items()
    ]
    at = next(i for i, param in enumerate(params) if param.name == "hints")
    params[at : at + 1] = flags

    def run(**values: Any) -> None:  # noqa: ANN401  (whatever the flags hold)
        given = {name: values.pop(name) for name in HINTS}
        command(hints={name: text for name, text in given.items() if text is not None}, **values)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(params)  # type: ignore[attr-defined]
    run.__annotations__ = {param.name: param.annotation for param in params}
    return run
