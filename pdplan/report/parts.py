"""Simulated requests in mean: their lengths, and what made up their time to first token."""

from pdplan.simulation.result import RequestRow


class Parts:
    """Sums over requests; call it with each one's row."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = [0.0] * 8

    def __call__(self, row: RequestRow) -> None:
        """Add one request."""
        sums = self._sums
        sums[0] += row.encode_wait_s
        sums[1] += row.encode_s
        sums[2] += row.prefill_wait_s
        sums[3] += row.prefill_s
        sums[4] += row.transfer_s
        sums[5] += row.decode_wait_s
        sums[6] += row.prompt_tokens
        sums[7] += row.output_tokens
        self._count += 1

    def means_s(self) -> dict[str, float] | None:
        """Mean of every part [s], named as the terms of the closed form; None of no requests."""
        if not self._count:
            return None
        names = ("encode wait", "encode", "prefill wait", "prefill", "transfer", "decode wait")
        return {name: each / self._count for name, each in zip(names, self._sums, strict=False)}

    def mean_tokens(self) -> tuple[float, float] | None:
        """Mean prompt and answer [tokens]; None of no requests."""
        if not self._count:
            return None
        return self._sums[6] / self._count, self._sums[7] / self._count
