"""Which requests count, and what is kept of those that have finished."""

from array import array
from collections.abc import Callable

from pdplan.simulation.clock import Clock
from pdplan.simulation.gaps import Gaps
from pdplan.simulation.meter import Window
from pdplan.simulation.model import ClassModel
from pdplan.simulation.request import NEVER, Request
from pdplan.simulation.result import RequestRow

SETTLED = 4
"""Requests finished for each one in flight at which a fleet that started empty counts as filled:
by Little's law that is five mean residence times after the start."""
WARMUP_SHARE = 0.1
"""Of the counted requests, dropped before them at least."""
TOLD_EVERY = 500


class Counter:
    """Counts requests in and out; keeps the latencies of those that count, and no more.

    The first of a steady stream are dropped: a tenth of those asked for, and as many more as it
    takes until four times as many have finished as are in flight, but no more than are asked for
    (a fleet that cannot keep up never settles). Of a trace all count.
    """

    __slots__ = (
        "_progress", "_rows", "_total", "arrived", "asked", "classes", "clock", "counted", "e2e_s",
        "finished", "first_s", "gaps", "kinds", "last_s", "tokens", "tpot_s", "ttft_s", "warmup",
        "window",
    )  # fmt: skip

    def __init__(
        self, clock: Clock, gaps: Gaps, classes: tuple[ClassModel, ...], *, steady: bool,
        asked: int | None, progress: Callable[[int, int | None], None] | None,
        rows: Callable[[RequestRow], None] | None,
    ) -> None:  # fmt: skip
        self.clock, self.gaps, self.classes, self.window = clock, gaps, classes, Window()
        self.asked, self._total = asked, asked
        self._progress, self._rows = progress, rows
        self.warmup = -1 if steady else 0
        """Requests that do not count; -1 while nobody knows."""
        gaps.on = not steady
        self.arrived = self.finished = self.counted = 0
        self.first_s = self.last_s = 0.0
        self.ttft_s, self.tpot_s, self.e2e_s = array("d"), array("d"), array("d")
        self.kinds, self.tokens = array("H"), 0

    def arrive(self, now: float) -> None:
        """Hear of an arrival, before it is numbered; decide whether counting starts or ends."""
        number, asked = self.arrived, self.asked
        self.arrived += 1
        if self.warmup < 0:
            assert asked is not None
            settled = self.finished >= SETTLED * (number - self.finished)
            if number < WARMUP_SHARE * asked or not (settled or number >= asked):
                return
            self.warmup, self.gaps.on = number, True
        if number == self.warmup:
            self.first_s = self.window.begin_s = now
        if asked is None or number < self.warmup + asked:
            self.last_s = now
        elif number == self.warmup + asked:
            self.window.end_s, self.gaps.on = now, False

    def arrivals_counted(self) -> int:
        """Requests that have arrived and count."""
        since = self.arrived - max(self.warmup, 0)
        return since if self.asked is None else min(since, self.asked)

    def finish(self, now: float, request: Request) -> None:
        """Keep what has to be kept of a finished request."""
        self.finished += 1
        if self._progress is not None and self.finished % TOLD_EVERY == 0:
            self._progress(self.counted, self._total)
        since = request.index - self.warmup
        if self.warmup < 0 or since < 0 or (self.asked is not None and since >= self.asked):
            return
        ttft = request.first_s - request.arrival_s
        steps = request.osl - 1
        tpot = (now - request.first_s) / steps if steps else float("nan")
        self.ttft_s.append(ttft)
        self.tpot_s.append(tpot)
        self.e2e_s.append(now - request.arrival_s)
        self.kinds.append(request.prompt.request_class)
        self.tokens += request.osl
        self.counted += 1
        self.gaps.finished()
        if self._rows is not None:
            self._rows(row(request, self.classes, ttft, tpot))
        if self.counted == self.asked:
            self.clock.stopped = True


def row(
    request: Request, classes: tuple[ClassModel, ...], ttft_s: float, tpot_s: float
) -> RequestRow:
    """What the per-request file shows; the parts of TTFT add up to it.

    What is no wait, encoding or transfer is prefill: the host's work and what is left of a running
    step among it.
    """
    r, prompt = request, request.prompt
    encode_wait = encode_s = transfer_s = decode_wait = 0.0
    start_s = r.prefill_start_s
    if r.encoded_s != NEVER:
        encode_wait = r.encode_start_s - r.ready_s
        encode_s = r.encoded_s - r.encode_start_s + prompt.host_s
        transfer_s = r.prefill_queued_s - r.encoded_s
    elif r.encode_start_s != NEVER:
        encode_s = prompt.encode_s + prompt.host_s
        start_s -= prompt.encode_s
    if r.first_s > r.prefill_end_s:
        transfer_s += r.delivered_s - r.prefill_end_s
        decode_wait = r.admitted_s - r.delivered_s
    prefill_wait = start_s - r.prefill_queued_s
    return RequestRow(
        request=r.index,
        request_class=classes[prompt.request_class].name,
        arrival_s=r.arrival_s,
        prompt_tokens=prompt.tokens,
        cached_tokens=prompt.tokens - prompt.new,
        output_tokens=r.osl,
        images=prompt.images,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        e2e_s=r.last_s - r.arrival_s,
        encode_wait_s=encode_wait,
        encode_s=encode_s,
        prefill_wait_s=prefill_wait,
        prefill_s=ttft_s - encode_wait - encode_s - prefill_wait - transfer_s - decode_wait,
        transfer_s=transfer_s,
        decode_wait_s=decode_wait,
        preemptions=r.preemptions,
    )
