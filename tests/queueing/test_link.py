import numpy as np
import pytest

from pdplan.queueing import link_wait, mg1_wait, transfer_s


def test_distserve_kv_cache():
    """OPT-66B, 512 tokens: 1.125 GiB over 25 Gbit/s."""
    assert transfer_s(1.125 * 2**30, 25e9 / 8, 0.0) == pytest.approx(0.38655, rel=1e-4)  # by hand


def test_link_is_a_queue():
    assert link_wait(3.0, 0.2, 0.5) == mg1_wait(3.0, 0.2, 0.5)
    assert np.isinf(link_wait(6.0, 0.2, 0.5).mean_s)


def test_arrays_equal_scalars():
    assert transfer_s(np.array([1.0, 2.0]), 4.0, 1.0).tolist() == [1.25, 1.5]
