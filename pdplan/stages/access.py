"""Between users and the fleet, where an option says how far away they are."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.specs.options import Options
from pdplan.stages.handoff import upload_s


def access_s(options: Options, prompt_tokens: Floats) -> Floats | None:
    """What the way of a prompt up and of its first token down adds to TTFT [S]; None where nothing.

    RTT + 4 L / bw: the text goes up as token ids of 4 bytes.
    """
    users = options.handoff or options.device_draft
    if users is None:
        return None
    return upload_s(prompt_tokens, users.rtt, users.uplink or np.inf)
