"""Speculative decoding: a draft proposes tokens, the model checks all of them in one step."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from pdplan.specs.base import Spec
from pdplan.specs.model import ModelSpec

MTP = "mtp"
NGRAM = "ngram"


class SpeculativeSpec(Spec):
    """How tokens are drafted and how many of them hold."""

    draft_tokens: Annotated[int, Field(gt=0, le=64, strict=True)]
    """Tokens drafted for each step."""
    acceptance: Annotated[float, Field(ge=0, lt=1, strict=True)]
    """Probability that a drafted token holds, given that those before it did."""
    draft: Annotated[str, Field(min_length=1)]
    """`mtp`: the model's own prediction layer; `ngram`: looked up in the text; or a model."""


@dataclass(frozen=True, slots=True)
class Speculation:
    """Speculative decoding with its draft model looked up."""

    draft_tokens: int
    acceptance: float
    draft: str
    model: ModelSpec | None = None
    """Of a draft that is a model of its own."""

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens that a step yields: those accepted in a row, and one of the model itself.

        (1 - alpha^(k + 1)) / (1 - alpha)

        k = draft_tokens, alpha = acceptance. Valid for: acceptances that are independent and
        alike. Limits: alpha = 0 gives 1; alpha -> 1 gives k + 1.
        *Source*: Leviathan, Kalman and Matias, Fast Inference from Transformers via Speculative
        Decoding, ICML 2023, arXiv 2211.17192, eq. 1.

        >>> round(Speculation(draft_tokens=3, acceptance=0.7, draft="ngram").tokens_per_step, 6)
        2.533
        """
        k, alpha = self.draft_tokens, self.acceptance
        return sum(alpha**i for i in range(k + 1))

    def text(self) -> dict[str, int | float | str]:
        """Write it as the keys of a file."""
        return {
            "draft_tokens": self.draft_tokens,
            "acceptance": self.acceptance,
            "draft": self.draft,
        }


def is_model(draft: str) -> bool:
    """Whether a draft is named by a model's id or path."""
    return draft not in (MTP, NGRAM)


def speculation(spec: SpeculativeSpec, model: ModelSpec | None) -> Speculation:
    """Put the keys together with the draft's model, if it has one."""
    return Speculation(spec.draft_tokens, spec.acceptance, spec.draft, model)
