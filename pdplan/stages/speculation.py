"""What speculative decoding costs: drafting tokens, checking them together, keeping the draft.

Outputs never change, only times: a step drafts k tokens for every running request and runs the
model once over k + 1 positions of each.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats
from pdplan.specs.model import ModelSpec
from pdplan.specs.speculation import MTP, Speculation
from pdplan.stages.llm import Pass, decode_pass
from pdplan.stages.machine import Machines
from pdplan.stages.memory import decoder_bytes

EXACT_TOKENS = 256


@lru_cache(maxsize=64)
def prediction_layer(model: ModelSpec) -> ModelSpec:
    """One multi-token-prediction module as a model: a layer of the model with its LM head.

    Its attention is the model's last full (or latent) one, its FFN that of the routed experts
    where there are any. What is left out: the projection that joins hidden state and embedding,
    2 h^2 weights (0.9 % of DeepSeek-V3's module).
    Source: DeepSeek-V3, arXiv 2412.19437, section 2.2.
    """
    own = [group for group in model.attention if group.kind in ("full", "latent")]
    own = own or [group for group in model.attention if group.kind != "cross"]
    changed: dict[str, Any] = {
        "layers": 1,
        "attention": (own[-1].model_copy(update={"layers": 1}),),
        "ffn": model.ffn.model_copy(update={"layers": 1}) if model.ffn and not model.moe else None,
        "moe": model.moe.model_copy(update={"layers": 1}) if model.moe else None,
    }
    changed |= dict.fromkeys(("mtp_layers", "other_parameters", "learned_positions"), 0)
    changed |= dict.fromkeys(("vision", "audio", "published"))
    kept = {name: getattr(model, name) for name in ModelSpec.model_fields}
    return ModelSpec.model_construct(**(kept | changed))


def draft_model(model: ModelSpec, speculation: Speculation | None) -> ModelSpec | None:
    """What runs once for every drafted token; None where drafting takes no model."""
    if speculation is None:
        return None
    return prediction_layer(model) if speculation.draft == MTP else speculation.model


def within_a_step(m: Machines) -> Machines:
    """The same instances without the host's time per step and request: the step pays it once."""
    return replace(m, step_s=0 * m.step_s, sequence_s=0 * m.sequence_s)


def decode_step(
    model: ModelSpec,
    m: Machines,
    *,
    speculation: Speculation | None,
    sequences: ArrayLike,
    context_tokens: ArrayLike,
    cross_tokens: ArrayLike = 0.0,
) -> Pass:
    """One whole decode step, drafting and checking included, [C, X].

    With speculation: k passes of the draft model, one after another, and one pass of the model
    with k + 1 positions a sequence, each with its own attention and all of them sampled; the
    cache is read once per sequence. Looking n-grams up is free. Draft models use the instance's
    parallelism and number formats. Without: `decode_pass`.
    Source: Leviathan et al., ICML 2023, arXiv 2211.17192, sections 2 and 3.
    """
    checked = decode_pass(
        model,
        m,
        sequences=sequences,
        context_tokens=context_tokens,
        cross_tokens=cross_tokens,
        positions=speculation.draft_tokens + 1 if speculation else 1,
    )
    draft = draft_model(model, speculation)
    if draft is None or speculation is None:
        return checked
    quiet = within_a_step(m)
    drafted = decode_pass(draft, quiet, sequences=sequences, context_tokens=context_tokens)
    return checked.plus(drafted.times(speculation.draft_tokens))


def mean_steps(speculation: Speculation | None, tokens: Floats) -> Floats:
    """Mean decode steps that yield so many tokens, the last step's surplus thrown away.

    N(m) = 1 + sum over j of p_j N(m - j), N(m <= 0) = 0; p_j: a step yields j tokens, alpha^(j - 1)
    (1 - alpha), and k + 1 tokens with alpha^k. Exact up to `EXACT_TOKENS`; beyond, its limit
    (m + c) / a with c = E[Y (Y - 1)] / (2 a), what the last step yields too much, a = E[Y].

    tokens [tokens], at least 0; between whole numbers it is linear.
    Source: elementary renewal theory (Feller, An Introduction to Probability Theory, vol. 2, XI.1).

    >>> guess = Speculation(draft_tokens=1, acceptance=0.5, draft="ngram")
    >>> mean_steps(guess, np.array([0.0, 1.0, 2.0, 3.0])).tolist()
    [0.0, 1.0, 1.5, 2.25]
    """
    if speculation is None:
        return tokens
    k, alpha = speculation.draft_tokens, speculation.acceptance
    yielded = np.arange(1, k + 2)
    chance = np.append((1 - alpha) * alpha ** np.arange(k), alpha**k)
    table = np.zeros(EXACT_TOKENS + k + 2)  # shifted by k + 1, so that N of what is negative is 0
    for m in range(k + 2, table.size):
        table[m] = 1 + chance @ table[m - yielded]
    mean = speculation.tokens_per_step
    surplus = float(chance @ (yielded * (yielded - 1))) / (2 * mean)
    exact = np.interp(tokens, np.arange(EXACT_TOKENS + 1), table[k + 1 :])
    return np.asarray(np.where(tokens <= EXACT_TOKENS, exact, (tokens + surplus) / mean))


def draft_bytes(model: ModelSpec, m: Machines, speculation: Speculation | None) -> Floats:
    """Weights of the draft on one accelerator [C, 1].

    A draft model is held whole. Prediction layers share the model's embedding and LM head; as
    many are held as are used and the checkpoint has, at least one.
    """
    draft = draft_model(model, speculation)
    if draft is None or speculation is None:
        return np.zeros_like(m.tp)
    if speculation.draft != MTP:
        return decoder_bytes(draft, m)
    held = min(speculation.draft_tokens, max(model.mtp_layers, 1))
    return held * decoder_bytes(draft, m, tables=False)
