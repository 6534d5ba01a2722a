"""Answers that the fleet begins and users' devices finish: what is left for it to decode."""

from pdplan.errors import InfeasibleError, UnfitError
from pdplan.physics.roofline import Floats
from pdplan.specs.dtypes import DTYPE_BYTES
from pdplan.specs.model import ModelSpec
from pdplan.specs.options import Options
from pdplan.specs.traffic import Traffic
from pdplan.stages.handoff import decoded, handed_over, refusal


def begun_answers(
    model: ModelSpec, traffic: Traffic, prompt_tokens: Floats, options: Options
) -> tuple[Floats, Floats] | None:
    """Tokens that the fleet decodes of answers and their weights [S, O]; None where it does all.

    Raises InfeasibleError where devices cannot finish them as asked, UnfitError where the option
    does not suit the requests.
    """
    option = options.handoff
    if option is None:
        return None
    if traffic.has_media:
        message = "options.handoff: devices take text; requests carry media"
        raise UnfitError(message)
    if options.device_draft is not None:
        message = "options.handoff: a device drafts for the fleet or finishes answers, not both"
        raise UnfitError(message)
    found = handed_over(option, prompt_tokens)
    objectives = [kind.tpot_s for kind in traffic.classes if kind.tpot_s is not None]
    each = DTYPE_BYTES.get(model.checkpoint_dtype, 2.0)
    weights = model.parameters().total * each
    problem = refusal(option, found, min(objectives, default=None), weights)
    if problem:
        message = f"options.handoff: {problem}"
        raise InfeasibleError(message)
    tokens, weight = decoded(
        traffic.output_tokens, traffic.output_weight, found.sent, option.capable
    )
    return None if tokens is traffic.output_tokens else (tokens, weight)
