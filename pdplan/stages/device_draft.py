"""Drafting on users' devices: what a round sends, how long it takes away from the fleet.

A round: the device drafts g tokens, sends them up, the fleet checks g + 1 positions in one pass,
the outcome comes down. Synchronous: a device does not draft on while its tokens are checked.
Source: Ning, Zheng and Yang, DSSD, arXiv 2507.12000, and the code that it names (message delays,
bytes of distributions); the bytes of `split` follow the paper's text.
"""

from dataclasses import dataclass

import numpy as np

from pdplan.errors import SpecError
from pdplan.physics.roofline import Floats
from pdplan.specs.options.device_draft import AUTO, DeviceDraft
from pdplan.specs.speculation import Speculation

ID_BYTES = 4
"""Of a token's number, and of a count of tokens."""
ENTRY_BYTES = 6
"""Of an entry of a shortened distribution: a token's number and a probability of 2 bytes."""
NOMINAL = 4
"""Drafted tokens where their number has not been found yet."""
DEVICE = "device"
"""What drafts, in the place of a draft model's name."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What drafting on devices comes down to, with g drafted tokens a round."""

    mode: str
    draft_tokens: int
    acceptance: float
    draft_step_s: float
    rtt_s: float
    up_bytes_per_s: float
    down_bytes_per_s: float
    vocab: int
    prob_bytes: int = 2
    top_k: int = 8

    @property
    def tokens(self) -> float:
        """Mean tokens of a round, E = (1 - a^(g + 1)) / (1 - a)."""
        return self.speculation.tokens_per_step

    @property
    def rejection(self) -> float:
        """Probability that a round rejects a token, 1 - a^g."""
        return 1 - self.acceptance**self.draft_tokens

    @property
    def speculation(self) -> Speculation:
        """The same as the fleet sees it: tokens to be checked, drafted for nothing."""
        return Speculation(self.draft_tokens, self.acceptance, DEVICE)

    @property
    def up_bytes(self) -> float:
        """Mean bytes of a round that go up: ids, and what stands for their distributions."""
        return self.draft_tokens * (ID_BYTES + self.distribution_bytes)

    @property
    def distribution_bytes(self) -> float:
        """What goes up for the distribution of one drafted token.

        dsd: V b; dsd_topk: 6 k; split: b, its probability alone; V = vocab, b = prob_bytes.
        """
        whole = self.vocab * self.prob_bytes
        shorter = min(self.top_k * ENTRY_BYTES, whole)
        return {"dsd": whole, "dsd_topk": shorter, "split": self.prob_bytes}[self.mode]

    @property
    def down_bytes(self) -> float:
        """Mean bytes of a round that come down.

        split: 4 + (1 - a^g) V b + 4 a^g: how many hold, then a distribution if one does not, from
        which the device draws the next token, else that token; others: both counts, 8.
        """
        if self.mode != "split":
            return 2 * ID_BYTES
        return (
            ID_BYTES
            + self.rejection * self.vocab * self.prob_bytes
            + (1 - self.rejection) * ID_BYTES
        )

    @property
    def drafting_s(self) -> float:
        """Time in which the device drafts, g t_s."""
        return self.draft_tokens * self.draft_step_s

    @property
    def away_s(self) -> float:
        """Z = g t_s + RTT + up / bw_up + down / bw_down: the part of a round without the fleet."""
        up = self.up_bytes / self.up_bytes_per_s
        return self.drafting_s + self.rtt_s + up + self.down_bytes / self.down_bytes_per_s

    def round_s(self, check_s: Floats | float) -> Floats:
        """Round of a request alone in the fleet: T = Z + t_l."""
        return np.asarray(self.away_s + check_s)

    def speedup(self, check_s: float, alone_s: float | None = None) -> float:
        """Rate of tokens over that of the fleet without drafts, E t / T.

        alone_s = t: a step of the fleet that yields one token, by default as long as a check.

        >>> split = Rounds("split", 8, 0.7, 0.010, 0.0, 1.25e7, 1.25e7, 50272)
        >>> round(split.speedup(0.125), 2)
        1.88
        """
        return float(self.tokens * (check_s if alone_s is None else alone_s)) / float(
            self.round_s(check_s)
        )


def rounds_of(option: DeviceDraft | None, vocab: int) -> Rounds | None:
    """What an option says of rounds; None where nothing is drafted on devices."""
    if option is None or not option.drafts:
        return None
    open_ = option.draft_tokens == AUTO
    drafted = NOMINAL if open_ else int(option.draft_tokens)
    acceptance = option.acceptance
    if acceptance is None:
        assert option.accept_rate is not None
        acceptance = acceptance_of(option.accept_rate, option.measured_draft_tokens or drafted)
    return Rounds(
        mode=option.mode,
        draft_tokens=drafted,
        acceptance=acceptance,
        draft_step_s=option.draft_step,
        rtt_s=option.rtt,
        up_bytes_per_s=option.uplink or np.inf,
        down_bytes_per_s=option.downlink or np.inf,
        vocab=vocab,
        prob_bytes=option.prob_bytes,
        top_k=option.top_k,
    )


def acceptance_of(accept_rate: float, draft_tokens: int) -> float:
    """Acceptance a that gives accepted over proposed tokens as measured, by bisection.

    (1 - a^(g + 1)) / (1 - a) = 1 + g r;  r = accept_rate in [0, 1), g = draft_tokens. r is not a:
    the tokens after a rejected one were proposed too.

    >>> round(acceptance_of(0.288, 8), 3)
    0.711
    """
    wanted = 1 + draft_tokens * accept_rate
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        few = sum(middle**i for i in range(draft_tokens + 1)) < wanted
        low, high = (middle, high) if few else (low, middle)
    return (low + high) / 2


def best_draft_tokens(
    acceptance: float, draft_share: float, network_share: float = 0.0, most: int = 16
) -> int:
    """Drafted tokens that make a lone request quickest: the g of 1..most with the largest S.

    S = E(g) / (g c + 1 + b);  c = t_s / t_l, b = messages' time / t_l.

    >>> best_draft_tokens(0.7, 0.05)
    6
    """
    tokens = np.cumsum(acceptance ** np.arange(most + 1))[1:]
    drafted = np.arange(1, most + 1)
    return int(drafted[np.argmax(tokens / (drafted * draft_share + 1 + network_share))])


def drafted(
    option: DeviceDraft | None, vocab: int, speculation: Speculation | None
) -> Speculation | None:
    """What the fleet checks: drafts of its own, or those of devices where an option says so.

    Raises SpecError where both draft.
    """
    rounds = rounds_of(option, vocab)
    own = None if speculation is None or speculation.draft == DEVICE else speculation
    if rounds is None:
        return own
    if own is not None:
        message = (
            "options.device_draft: devices draft, and so does the fleet (speculative: "
            f"{own.draft}); give one of them"
        )
        raise SpecError(message)
    return rounds.speculation


def told(speculation: Speculation | None) -> dict[str, int | float | str] | None:
    """Drafting as a plan's key `speculative` says it; None where devices draft, or nobody."""
    return None if speculation is None or speculation.draft == DEVICE else speculation.text()


def uplink_share(
    option: DeviceDraft | None, vocab: int, rate_rps: float, steps: float, prompt_tokens: float
) -> float:
    """Share of what all users together can send that they do send; 0 without such a limit.

    rate (rounds x bytes up + 4 prompt tokens) / cell, with the mean rounds of a request. A round's
    length plays no part: longer rounds keep more users sending, each more seldom.
    """
    if option is None or option.cell_uplink is None:
        return 0.0
    rounds = rounds_of(option, vocab)
    sent = steps * rounds.up_bytes if rounds is not None else 0.0
    return rate_rps * (sent + ID_BYTES * prompt_tokens) / option.cell_uplink
