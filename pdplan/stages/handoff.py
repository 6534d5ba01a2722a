"""Answers begun by the fleet and finished by the user's device: who decodes what, and when.

The prompt's text goes up, no cache comes down. The device prefills the same prompt meanwhile, then
the tokens that it was sent, and takes over. The fleet's slot is free after the last token sent.
Source: Jin et al., P/D-Device, arXiv 2508.09035 (how it works); the equations are this module's.

Symbols: L prompt tokens, N tokens sent by the fleet, v device prefill [tokens/s], tau time between
tokens shown [s], T_c the fleet's first token as the user sees it [s], r share of the prompt that
the device prefills, T_s when it may start [s].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats
from pdplan.specs.options.handoff import Handoff

ID_BYTES = 4


def upload_s(tokens: ArrayLike, rtt_s: float, up_bytes_per_s: float) -> Floats:
    """What the way to the fleet and back adds to a first token: RTT + 4 L / bw."""
    return np.asarray(rtt_s + ID_BYTES * np.asarray(tokens, float) / up_bytes_per_s)


def ready_s(
    prompt_tokens: ArrayLike, sent_tokens: ArrayLike, prefill_tokens_per_s: float,
    *, start_s: ArrayLike = 0.0, kept: float = 1.0,
) -> Floats:  # fmt: skip
    """When the device has prefilled the prompt and what it was sent: T_s + (r L + N) / v."""
    work = kept * np.asarray(prompt_tokens, float) + np.asarray(sent_tokens, float)
    return np.asarray(np.asarray(start_s, float) + work / prefill_tokens_per_s)


def fewest_tokens(
    prompt_tokens: ArrayLike, first_s: ArrayLike, prefill_tokens_per_s: float, pace_s: float,
    *, start_s: ArrayLike = 0.0, kept: float = 1.0,
) -> Floats:  # fmt: skip
    """Tokens that the fleet has to send so that nobody waits for the device, at least 1.

    N* = ceil((T_s + r L / v - T_c) / (tau - 1 / v)): then T_c + N tau >= T_s + (r L + N) / v.
    Endless where the device is late and never catches up, tau <= 1 / v.

    >>> float(fewest_tokens(8192, 1.0, 800.0, 0.050))
    190.0
    """
    late = ready_s(prompt_tokens, 0.0, prefill_tokens_per_s, start_s=start_s, kept=kept)
    late = np.asarray(late - np.asarray(first_s, float))
    gained = pace_s - 1 / prefill_tokens_per_s
    if gained <= 0:
        return np.where(late <= gained, 1.0, np.inf)
    return np.maximum(np.ceil(late / gained - 1e-9), 1.0)


def gap_s(
    prompt_tokens: ArrayLike, sent_tokens: ArrayLike, first_s: ArrayLike,
    prefill_tokens_per_s: float, pace_s: float, *, start_s: ArrayLike = 0.0, kept: float = 1.0,
) -> Floats:  # fmt: skip
    """How long the user waits for the device: T_s + (r L + N) / v - (T_c + N tau), at least 0."""
    ready = ready_s(prompt_tokens, sent_tokens, prefill_tokens_per_s, start_s=start_s, kept=kept)
    shown = np.asarray(first_s, float) + np.asarray(sent_tokens, float) * pace_s
    return np.maximum(ready - shown, 0.0)


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a hand-over does to each support point [S]."""

    sent: Floats
    """N: tokens that the fleet sends."""
    first_s: Floats
    """Least T_c: what the network takes, or what was given."""
    ready_s: Floats
    """When the device can take over, at that first token."""
    gap_s: Floats
    """How long the user then waits."""
    kept: float
    """r."""


def handed_over(option: Handoff, prompt_tokens: Floats) -> HandedOver:
    """Work out the tokens that the fleet sends for prompts of so many tokens [S].

    T_c is taken at its least, what the network takes unless given: a later first token only gives
    the device more time, so that N is enough for every request. It is too many by what the fleet's
    own TTFT would allow, TTFT / (tau - 1 / v) tokens at most.
    """
    first = upload_s(prompt_tokens, option.rtt, option.uplink or np.inf)
    first = np.maximum(first, option.cloud_ttft or 0.0)
    shares = (
        (1.0, float(option.quality_floor or 1.0))
        if option.refinement == "auto"
        else (float(option.refinement),)
    )
    tried = [_with_share(option, prompt_tokens, first, share) for share in shares]
    return min(tried, key=lambda found: float(found.sent.sum()))


def _with_share(option: Handoff, prompt: Floats, first: Floats, kept: float) -> HandedOver:
    speed, pace = option.device_prefill, option.pace
    start = first + option.refine if kept < 1 else np.zeros_like(first)
    if option.tokens == "auto":
        sent = fewest_tokens(prompt, first, speed, pace, start_s=start, kept=kept)
    else:
        sent = np.full_like(first, float(option.tokens))
    finite = np.where(np.isfinite(sent), sent, 0.0)
    return HandedOver(
        sent=sent,
        first_s=first,
        ready_s=ready_s(prompt, sent, speed, start_s=start, kept=kept),
        gap_s=np.where(
            np.isfinite(sent), gap_s(prompt, finite, first, speed, pace, start_s=start, kept=kept),
            np.inf,
        ),
        kept=kept,
    )  # fmt: skip


def decoded(outputs: Floats, weight: Floats, sent: Floats, capable: float) -> tuple[Floats, Floats]:
    """Tokens that the fleet itself decodes and their weights, [S, O] or [S, 2 O].

    Of requests whose device takes part, min(o, N); of others, o. Where no answer is cut short they
    are returned as they are.
    """
    if capable == 0 or (outputs <= sent[:, None]).all():
        return outputs, weight
    cut = np.minimum(outputs, sent[:, None])
    if capable == 1:
        return cut, weight
    both = np.concatenate([outputs, cut], axis=1)
    return both, np.concatenate([(1 - capable) * weight, capable * weight], axis=1)


def refusal(option: Handoff, found: HandedOver, tpot_s: float | None, weight_bytes: float) -> str:
    """Why devices cannot finish answers, if they cannot; empty else.

    tpot_s: the tightest objective for the time per token; weight_bytes: of the model served.
    """
    if option.capable == 0:
        return ""
    held = weight_bytes if option.device_weights is None else option.device_weights
    if option.device_memory is not None and held > option.device_memory:
        return (
            f"devices have {option.device_memory / 1e9:.2f} GB of memory, the model takes "
            f"{held / 1e9:.2f} GB there"
        )
    if not np.isfinite(found.sent).all():
        return (
            f"a device that prefills {option.device_prefill:g} tokens/s never catches up with "
            f"tokens shown every {option.pace * 1e3:g} ms; it takes a pace of more than "
            f"{1e3 / option.device_prefill:g} ms"
        )
    if tpot_s is None:
        return ""
    for what, each in (
        ("tokens are shown every", option.pace),
        ("devices decode a token in", option.device_decode),
    ):
        if each > tpot_s * (1 + 1e-9):
            return f"{what} {each * 1e3:g} ms; the TPOT objective is {tpot_s * 1e3:g} ms"
    return ""
