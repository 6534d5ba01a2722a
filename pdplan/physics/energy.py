"""Energy of an accelerator: what it draws at rest, for traffic and for arithmetic.

P = P_board (a + b u_bytes + c u_flops): u are shares of the datasheet's bandwidth and arithmetic
rate, a + b + c = 1, so that an accelerator with both at their limits draws its board power.

The shares, for accelerators of 350 to 1,000 W with stacked memory:

- a = 0.17 at rest with a model loaded: 80 W of an idle H200 (SerialAlice's energy benchmark, 2026),
  26 to 50 W more once a process holds it, whatever its memory (arXiv 2605.23918, H100 and A100);
- b = 0.32 for traffic: decode at batch 1 draws 300 W on an H100 (ML.ENERGY v3, quoted in the power
  model of vLLM's semantic router) and at most 300 W on an H200 (arXiv 2605.11999), taken to be at
  0.8 of the bandwidth; 67 pJ/B on an H100, of which the memory devices take 31 (3.92 pJ/bit of
  HBM2, O'Connor et al., MICRO 2017, doi:10.1145/3123939.3124545);
- c = 0.51 for arithmetic: what is left of the board power; 0.36 pJ/FLOP in bf16 on an H100. The
  operand type changes the rate and not the power at it (662 W in bf16 and in fp8 on an
  H200, SerialAlice's benchmark).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats

AT_REST = 0.17
TRAFFIC = 0.32
ARITHMETIC = 0.51


@dataclass(frozen=True, slots=True)
class EnergyConstants:
    """Coefficients of E = idle_w t + flop_j FLOPs + byte_j bytes of one accelerator."""

    idle_w: float
    flop_j: float
    byte_j: float

    @classmethod
    def of(cls, board_w: float, flops_per_s: float, bytes_per_s: float) -> "EnergyConstants":
        """From board power and datasheet rates.

        >>> h100 = EnergyConstants.of(700.0, 989.4e12, 3.35e12)
        >>> round(h100.flop_j * 1e12, 2), round(h100.byte_j * 1e12, 1), round(h100.idle_w)
        (0.36, 66.9, 119)
        """
        return cls(
            AT_REST * board_w, ARITHMETIC * board_w / flops_per_s, TRAFFIC * board_w / bytes_per_s
        )


def active_j(board_w: ArrayLike, compute_s: ArrayLike, memory_s: ArrayLike) -> Floats:
    """Energy of work on one accelerator beyond rest: P_board (c t_c + b t_m) [J].

    board_w [W]; compute_s = FLOPs / F and memory_s = bytes / B at the datasheet's rates [s].
    Valid for: any mix; at most (1 - a) P_board for every second that both limits are reached.
    *Measured error*: see `stages.energy`.

    >>> float(active_j(700.0, 1.0, 1.0)) + 0.17 * 700
    700.0
    """
    arithmetic = ARITHMETIC * np.asarray(compute_s, float)
    return np.asarray(np.asarray(board_w, float) * (arithmetic + TRAFFIC * np.asarray(memory_s)))


def energy_per_token_j(
    idle_w: ArrayLike, request_j: ArrayLike, rate_rps: ArrayLike, tokens: ArrayLike
) -> Floats:
    """Energy for every token of prompts and answers: (P_idle / lambda + E_request) / tokens [J].

    idle_w [W] of the whole fleet at rest; request_j [J] beyond it; rate_rps = lambda [1/s];
    tokens of a request, prompt and answer together. Limits: endless for a fleet without requests.

    >>> float(energy_per_token_j(1400.0, 20.0, 2.0, 7200.0))
    0.1
    """
    per_request = np.asarray(idle_w, float) / np.asarray(rate_rps, float) + request_j
    return np.asarray(per_request / np.asarray(tokens, float))
