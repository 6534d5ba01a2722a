"""A transfer as a loaded link: latency plus bandwidth, and a queue in front."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray
from pdplan.queueing.waiting import Wait, mg1_wait


def transfer_s(
    payload_bytes: ArrayLike, bytes_per_s: ArrayLike, latency_s: ArrayLike
) -> FloatArray:
    """Time to send a payload over an idle link.

    T = latency + payload / bandwidth   (Hockney's alpha-beta law).

    Parameters
    ----------
    payload_bytes
        Payload [byte].
    bytes_per_s
        Achieved one-way bandwidth [byte/s].
    latency_s
        Start-up time alpha [s]. Arrays broadcast.

    Notes
    -----
    *Valid for* one transfer at a time. *Limits*: infinite bandwidth gives the latency.
    *Source*: Hockney, Parallel Computing 20 (1994) 389-398.

    Examples
    --------
    >>> float(transfer_s(1e9, 50e9, 1e-5))
    0.02001
    """
    payload = np.asarray(payload_bytes, dtype=np.float64)
    return np.asarray(latency_s, dtype=np.float64) + payload / np.asarray(bytes_per_s, np.float64)


def link_wait(arrival_rps: ArrayLike, transfer_mean_s: ArrayLike, transfer_scv: ArrayLike) -> Wait:
    """Wait for a link that sends one transfer at a time, first come first served: M/G/1.

    Parameters
    ----------
    arrival_rps
        Transfers offered to the link [1/s].
    transfer_mean_s
        Mean time of a transfer [s].
    transfer_scv
        SCV of the transfer time [-]. Arrays broadcast.

    Notes
    -----
    *Valid for* Poisson arrivals and utilization < 1; a link shared fairly by concurrent transfers
    has the same utilization but spreads the delay over them.
    *Source*: Pollaczek-Khinchine, see `mg1_wait`.

    Examples
    --------
    >>> float(link_wait(25.0, 0.02, 0.0).mean_s)
    0.01
    """
    return mg1_wait(arrival_rps, transfer_mean_s, transfer_scv)
