"""A transfer as a loaded link: latency plus bandwidth, and a queue at both ends."""

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


def hop_wait(
    sent_rps: ArrayLike,
    received_rps: ArrayLike,
    transfer_mean_s: ArrayLike,
    transfer_scv: ArrayLike,
    batch: ArrayLike = 1.0,
    senders: ArrayLike = np.inf,
    receivers: ArrayLike = np.inf,
    *,
    received_mean_s: ArrayLike | None = None,
    in_turn: bool = False,
) -> Wait:
    """Wait for a transfer between two ends that carry one transfer at a time each.

    A transfer takes its sender for T and, from when it leaves, its receiver for T. At the sender
    those of a pass of k requests start together; into one of m receivers they come one after the
    other from each of n senders, so that only the others' keep it waiting, in trains of 1/m of k:
    W_s = (r_s T^2 (1 + Cs^2) + (k - 1) T) / (2 (1 - r_s T)),
    W_r = (1 - 1/n) r_r T^2 (Ca^2 + Cs^2) / (2 (1 - r_r T)),  Ca^2 = 1 + (k - 1)/m, or k/m where
    receivers are taken in turn or by load,
    P = 1 - (1 - r_s T) (1 - (1 - 1/n) r_r T) / k.

    Parameters
    ----------
    sent_rps
        Transfers of one sender [1/s].
    received_rps
        Transfers into one receiver [1/s].
    transfer_mean_s
        T [s], how long a transfer takes its sender.
    transfer_scv
        Cs^2 [-].
    batch
        k >= 1.
    senders
        n [-].
    receivers
        m [-]. Arrays broadcast.
    received_mean_s
        T of a receiver where it is faster or slower [s]; by default the same.
    in_turn
        Whether receivers are picked in turn or by load, not at random.

    Notes
    -----
    *Valid for* loads below 1 of both ends. *Error* of the mean wait against simulation with 1 to 8
    ends a side, loads to 0.8, receivers picked at random (`test_link`): 15 % or a twentieth of a
    transfer; picked in turn 25 % or a tenth.
    *Source*: M^[X]/G/1, Gross et al., Fundamentals of Queueing Theory, 4th ed. (2008), chapter 5.

    Examples
    --------
    >>> alone = hop_wait(25.0, 0.0, 0.02, 0.0)
    >>> float(alone.mean_s), float(alone.mean_s) == float(link_wait(25.0, 0.02, 0.0).mean_s)
    (0.01, True)
    """
    mean, scv, k = (np.asarray(x, dtype=np.float64) for x in (transfer_mean_s, transfer_scv, batch))
    k = np.maximum(k, 1.0)
    taken = mean if received_mean_s is None else np.asarray(received_mean_s, dtype=np.float64)
    sent, received = np.asarray(sent_rps) * mean, np.asarray(received_rps) * taken
    others = 1 - 1 / np.asarray(senders, dtype=np.float64)
    stable = np.asarray(np.maximum(sent, received) < 1)
    sent, received = np.where(stable, sent, 0.0), np.where(stable, received, 0.0)
    varied = mean * (1 + scv)
    leaving = (sent * varied + (k - 1) * mean) / (2 * (1 - sent))
    count = np.asarray(receivers, dtype=np.float64)
    come = k / count if in_turn else 1 + (k - 1) / count
    arriving = others * received * taken * (come + scv) / (2 * (1 - received))
    chance = np.where(stable, 1 - (1 - sent) * (1 - others * received) / k, 1.0)
    some = chance > 0
    tail = np.where(some, (leaving + arriving) / np.where(some, chance, 1.0), 0.0)
    return Wait(chance[()], np.where(stable, tail, np.inf)[()])
