from pathlib import Path

import numpy as np
import pytest
import yaml

from pdplan.errors import SpecError
from pdplan.specs.arrivals import Bursts
from pdplan.specs.base import validate
from pdplan.specs.source import parse_yaml
from pdplan.specs.trace_fit import fit_trace, lengths_csv, workload_of, workload_yaml
from pdplan.specs.trace_fit.arrivals import ArrivalTally
from pdplan.specs.trace_fit.bursts import bursts_of, fit_dispersion
from pdplan.specs.trace_fit.counts import Bars, Gaps, Hours, WindowCounts
from pdplan.specs.trace_fit.daily import daily_profile
from pdplan.specs.trace_fit.lengths import Reservoir, moments_of
from pdplan.specs.trace_fit.sample import representative
from pdplan.specs.trace_formats import Reading, open_trace
from pdplan.specs.traffic import traffic
from pdplan.specs.workload import WorkloadSpec

HERE = Path(__file__).parent / "traces"
PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "traces"
WINDOWS_S = (0.1, 0.3, 1, 3, 10, 30, 100, 300)
TABLES = (
    "AzureLLMInferenceTrace_code.csv",
    "mooncake_synthetic_trace.jsonl",
    "lengths/llama2-70b-99.csv",
    "lengths/llama3-1-405b.csv",
    "lengths/sharegpt-vicuna.csv",
)


def public(name):
    path = PUBLIC / name
    if not path.exists():
        pytest.skip(f"no traces in {PUBLIC}")
    return fit_trace(open_trace(path))


def write(path, columns):
    names = ",".join(columns)
    np.savetxt(
        path, np.column_stack(list(columns.values())), "%.6g", ",", header=names, comments=""
    )
    return path


def windows_of(times, parts=7):
    counted = [WindowCounts(length) for length in WINDOWS_S]
    for part in np.array_split(times, parts):
        for window in counted:
            window.add(part)
    return [window.window() for window in counted]


def two_rates(random, bursts, rate, span_s):
    """Arrivals of the process that a workload's `burst` describes."""
    times, now = [], 0.0
    calm_s = bursts.length_s * (1 - bursts.share) / bursts.share
    while now < span_s:
        for factor, mean_s in ((bursts.factor, bursts.length_s), (bursts.calm_factor, calm_s)):
            length = random.exponential(mean_s)
            count = random.poisson(factor * rate * length)
            times.append(now + np.sort(random.random(count)) * length)
            now += length
    return np.concatenate(times)


def test_counts_are_those_of_a_histogram():
    random = np.random.default_rng(1)
    times = np.cumsum(random.gamma(0.5, 0.8, 5000))
    for window in windows_of(times):
        number = int(times[-1] // window.length_s)
        n = np.bincount((times / window.length_s).astype(int))[:number]
        third = np.mean((n - n.mean()) ** 3) - 3 * n.var() + 2 * n.mean()
        assert (window.number, window.most) == (number, n.max())
        assert window.mean == pytest.approx(n.mean(), rel=1e-12)
        assert window.dispersion == pytest.approx(n.var() / n.mean(), rel=1e-9)
        assert window.third == pytest.approx(third, rel=1e-6, abs=1e-9)


def test_gaps_in_parts_are_gaps_at_once():
    times = np.cumsum(np.random.default_rng(2).exponential(3.0, 1000))
    gaps = Gaps()
    for part in np.array_split(times, 9):
        gaps.add(part)
    steps = np.diff(times)
    assert gaps.scv == pytest.approx(steps.var() / steps.mean() ** 2, rel=1e-9)
    assert gaps.rate_rps == pytest.approx(1 / steps.mean(), rel=1e-12)


@pytest.mark.parametrize(("step_s", "blurred"), [(1.0, True), (1e-6, False)])
def test_a_coarse_clock_does_not_look_like_bursts(step_s, blurred):
    """Poisson arrivals, 3 a second, in whole seconds: squared variation 1 to 5 %."""
    times = np.cumsum(np.random.default_rng(9).exponential(1 / 3, 100_000))
    tally = ArrivalTally()
    for part in np.array_split(np.floor(times / step_s) * step_s, 9):
        tally.add(part)
    found = tally.found()
    assert found.bursts is None
    assert found.arrival_scv == pytest.approx(1.0, abs=0.05)
    assert (abs(found.gap_scv - 1) > 0.5) is blurred


def test_bars_double_their_length():
    bars = Bars(most=4)
    for part in ([0.0, 0.5, 2.0], [3.5, 9.0]):
        bars.add(np.array(part))
    assert (bars.length_s, bars.counts.tolist()) == (4.0, [4, 0, 1])


@pytest.mark.parametrize(
    ("wanted", "rate"),
    [(Bursts(4.0, 0.1, 30.0), 2.0), (Bursts(8.0, 0.09, 7.0), 2.6), (Bursts(2.5, 0.3, 5.0), 20.0)],
)
def test_bursts_are_found_again(wanted, rate):
    """Over 4,000 bursts: rates and shares to 10 %, dispersion to 15 %."""
    random = np.random.default_rng(3)
    times = two_rates(random, wanted, rate, 4000 * wanted.length_s / wanted.share)
    windows = windows_of(times)
    dispersion = fit_dispersion(windows)
    found = bursts_of(dispersion, windows, rate)
    assert found.factor == pytest.approx(wanted.factor, rel=0.1)
    assert found.share == pytest.approx(wanted.share, rel=0.1)
    assert found.length_s == pytest.approx(wanted.length_s, rel=0.15)
    assert dispersion.limit == pytest.approx(1 + wanted.excess_dispersion(rate), rel=0.15)
    assert found.factor * found.share <= 1


@pytest.mark.parametrize("scv", [0.25, 1.0, 4.0])
def test_renewals_do_not_burst(scv):
    """The dispersion of gamma gaps over long times is the variation of a gap; to 10 %."""
    times = np.cumsum(np.random.default_rng(4).gamma(1 / scv, 0.3 * scv, 60_000))
    windows = windows_of(times)
    dispersion = fit_dispersion(windows)
    assert bursts_of(dispersion, windows, 1 / 0.3) is None
    assert dispersion.limit == pytest.approx(scv, rel=0.1)


def test_too_few_intervals_say_nothing():
    assert fit_dispersion(windows_of(np.arange(5.0), parts=1)) is None


def daily(days, amplitude, clock_s=0.0, seed=5):
    random = np.random.default_rng(seed)
    times = np.sort(random.random(int(40_000 * days)) * 86400 * days)
    rate = 1 + amplitude * np.sin(2 * np.pi * (times + clock_s) / 86400)
    times = times[random.random(len(times)) * (1 + amplitude) < rate]
    hours = Hours(clock_s)
    hours.add(times)
    return daily_profile(hours.counts, clock_s, float(times[-1]))


@pytest.mark.parametrize(("days", "clock_s"), [(3, 0.0), (3, 30_000.0), (1, 50_000.0)])
def test_a_daily_pattern_is_found(days, clock_s):
    """Hours of 1,000 requests and more: relative rates to 10 %."""
    middle = 2 * np.pi * (np.arange(24) + 0.5) / 24
    found = daily(days + 0.02, 0.6, clock_s) if days == 1 else daily(days, 0.6, clock_s)
    assert found == pytest.approx(1 + 0.6 * np.sin(middle), rel=0.1)
    assert found.mean() == pytest.approx(1.0, rel=1e-12)


def test_no_pattern_where_none_is_clear():
    assert daily(3, 0.0) is None
    assert daily_profile(np.full(24, 9.0), 0.0, 23 * 3600.0) is None


def test_the_reservoir_is_even():
    """Every request is kept with the same probability, wherever it stands; to 4 deviations."""
    reservoir = Reservoir(1, most=2000)
    for part in np.array_split(np.arange(40_000.0).reshape(-1, 1), 13):
        reservoir.add(part)
    tenths = np.bincount((reservoir.rows[:, 0] / 4000).astype(int), minlength=10)
    assert tenths.sum() == 2000
    assert np.abs(tenths - 200).max() < 4 * np.sqrt(200 * 0.9)
    assert len(np.unique(reservoir.rows)) == 2000


@pytest.mark.parametrize("name", TABLES)
def test_a_sample_keeps_moments_percentiles_and_correlation(name):
    fit = public(name)
    kept = moments_of(fit.sample[:, 0], fit.sample[:, 1])
    assert len(fit.sample) == 2000
    assert (kept.isl_mean, kept.osl_mean) == pytest.approx(
        (fit.moments.isl_mean, fit.moments.osl_mean), rel=5e-4
    )
    assert (kept.isl_cv, kept.osl_cv) == pytest.approx(
        (fit.moments.isl_cv, fit.moments.osl_cv), rel=2e-3
    )
    assert kept.correlation == pytest.approx(fit.moments.correlation, abs=0.01)
    for column in (0, 1):
        levels = [np.percentile(rows[:, column], (50, 90, 99)) for rows in (fit.rows, fit.sample)]
        assert levels[1] == pytest.approx(levels[0], rel=0.015)


def test_a_thinned_trace_gets_the_moments_of_the_whole():
    random = np.random.default_rng(6)
    isl = np.ceil(random.lognormal(6, 1.2, 50_000))
    osl = np.ceil(isl**0.3 * random.lognormal(3, 0.8, 50_000))
    blank = np.zeros(len(isl))
    rows = np.column_stack((isl, osl, blank, blank))
    moments = moments_of(isl, osl)
    sample = representative(rows[random.integers(50_000, size=5000)], moments, 1500)
    kept = moments_of(sample[:, 0], sample[:, 1])
    assert len(sample) == 1500
    assert (kept.isl_mean, kept.osl_mean) == pytest.approx(
        (moments.isl_mean, moments.osl_mean), rel=1e-3
    )
    assert (kept.isl_cv, kept.osl_cv) == pytest.approx((moments.isl_cv, moments.osl_cv), rel=0.01)
    assert kept.correlation == pytest.approx(moments.correlation, abs=0.05)


def test_few_requests_are_kept_as_they_are():
    fit = fit_trace(open_trace(HERE / "table.csv"))
    assert fit.sample[:, :3].tolist() == [[100, 10, 0], [200, 20, 1], [300, 30, 2]]


def built(fit, folder, **keys):
    (folder / "l.csv").write_text(lengths_csv(fit))
    text = workload_yaml(workload_of(fit, "mine", "l.csv", **keys))
    spec = validate(parse_yaml(text, "w.yaml"), WorkloadSpec)
    return text, spec, traffic(spec, spec.rate or 1.0, folder)


def test_a_workload_of_everything_a_table_says(tmp_path):
    text, spec, _ = built(
        fit_trace(open_trace(HERE / "table.csv")), tmp_path, image_size=(640, 480)
    )
    assert yaml.safe_load(text) == {
        "name": "mine",
        "description": "Fitted to a recorded trace; its lengths are drawn in the file beside.",
        "source": "table.csv (table with columns of lengths): 3 requests, over 3 s",
        "rate": "0.666667 req/s",
        "arrival_scv": 0.0,
        "isl": {"trace": "l.csv"},
        "osl": {"trace": "l.csv"},
        "images": {
            "count": {
                "histogram": {"values": [0, 1, 2], "weights": [0.333333, 0.333333, 0.333333]}
            },
            "width": 640,
            "height": 480,
        },
        "prefix": {"hit": round((64 + 299) / 400, 4)},
    }
    assert (tmp_path / "l.csv").read_text() == (
        "isl,osl,images,cached\n100,10,0,64\n200,20,1,\n300,30,2,299\n"
    )
    assert spec.prefix.hit == 0.9075


def test_lengths_alone_have_no_rate(tmp_path):
    text, spec, _ = built(fit_trace(open_trace(HERE / "lengths.csv")), tmp_path)
    assert spec.rate is None
    assert "Give the rate." in text


def test_a_daily_profile_is_written(tmp_path):
    random = np.random.default_rng(8)
    times = np.sort(random.random(60_000) * 3 * 86400)
    times = times[random.random(len(times)) * 1.6 < 1 + 0.6 * np.sin(2 * np.pi * times / 86400)]
    ones = np.ones(len(times))
    path = write(tmp_path / "t.csv", {"arrival_s": times, "isl": 100 * ones, "osl": 9 * ones})
    fit = fit_trace(open_trace(path))
    _, spec, built_traffic = built(fit, tmp_path)
    assert spec.profile.peak_factor == pytest.approx(1.6, rel=0.05)
    assert built_traffic.mean_rate_rps * 3 * 86400 == pytest.approx(len(times), rel=1e-3)
    assert spec.burst is None
    assert spec.arrival_scv == pytest.approx(1.0, abs=0.1)  # none of the day's swing is in it
    for window in fit.arrivals.windows:
        if 100 <= window.length_s <= 600:
            written = fit.arrivals.written_dispersion(window.length_s)
            assert written == pytest.approx(window.dispersion, rel=0.1)


def test_sessions_are_counted(tmp_path):
    path = tmp_path / "t.csv"
    rows = ["0,1,1,a", "1,1,1,b", "4,1,1,a", "6,1,1,", "10,1,1,a"]
    path.write_text("arrival_s,isl,osl,session\n" + "\n".join(rows) + "\n")
    found = fit_trace(open_trace(path)).sessions
    assert (found.sessions, found.turns_mean) == (2, 2.0)
    assert (found.between_mean_s, found.between_median_s) == (5.0, 5.0)


def test_only_part_of_the_time(tmp_path):
    fit = fit_trace(open_trace(HERE / "table.csv"), from_s=1.0, until_s=3.0)
    assert fit.sample[:, 0].tolist() == [200]
    assert fit.arrivals is None
    with pytest.raises(SpecError, match=r"table\.csv: has no request in that time$"):
        fit_trace(open_trace(HERE / "table.csv"), from_s=9.0)


def test_the_azure_trace_bursts(tmp_path):
    """Dispersion of the written workload against the trace's, from 0.3 s to 100 s: 15 %."""
    fit = public("AzureLLMInferenceTrace_code.csv")
    _, spec, found = built(fit, tmp_path)
    assert spec.rate == pytest.approx(2.5664, rel=1e-4)
    assert 5 < spec.burst.factor < 12
    assert found.dispersion == pytest.approx(fit.arrivals.dispersion().limit, rel=1e-3)
    for window in fit.arrivals.windows:
        if 0.3 <= window.length_s <= 100:
            written = fit.arrivals.written_dispersion(window.length_s)
            assert written == pytest.approx(window.dispersion, rel=0.15)


def test_points_of_the_solver_keep_what_the_file_has(tmp_path):
    """The workload's request points: means exact to 0.1 %, correlation kept."""
    fit = public("mooncake_synthetic_trace.jsonl")
    _, spec, found = built(fit, tmp_path)
    osl = (found.output_weight * found.output_tokens).sum(axis=1)
    isl_mean = found.weight @ found.text_tokens
    both = found.weight @ (found.text_tokens * osl) - isl_mean * found.output_mean
    product = fit.moments.isl_mean * fit.moments.isl_cv * fit.moments.osl_mean * fit.moments.osl_cv
    assert isl_mean == pytest.approx(fit.moments.isl_mean, rel=1e-3)
    assert found.output_mean == pytest.approx(fit.moments.osl_mean, rel=1e-3)
    assert both / product == pytest.approx(fit.moments.correlation, abs=0.03)
    assert spec.burst is None
    assert spec.prefix.hit == pytest.approx(0.6512, abs=1e-4)


def test_a_smaller_cache_hits_less():
    path = PUBLIC / "mooncake_synthetic_trace.jsonl"
    if not path.exists():
        pytest.skip(f"no traces in {PUBLIC}")
    hits = [
        fit_trace(open_trace(path), Reading(cache_blocks=blocks)).hit
        for blocks in (100, 10_000, 43_924, None)
    ]
    assert hits == sorted(hits)
    assert hits[0] < 0.3
    assert hits[2] == hits[3]  # as many blocks as the trace has


@pytest.mark.slow
def test_a_long_trace_is_thinned(tmp_path):
    """Memory of 200,000 rows, however long the trace; its moments are exact nevertheless."""
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("arrival_s,isl,osl,session\n")
        file.writelines(f"{k / 10},{k % 900 + 1},{k % 70 + 1},s{k // 3}\n" for k in range(252_000))
    fit = fit_trace(open_trace(path))
    isl = np.arange(252_000) % 900 + 1
    assert fit.moments.requests == 252_000
    assert fit.moments.isl_mean == pytest.approx(isl.mean(), rel=1e-12)
    assert fit.moments.isl_cv == pytest.approx(isl.std() / isl.mean(), rel=1e-9)
    assert len(fit.rows) == 200_000
    assert len(fit.arrivals.bars) <= 1024
    assert fit.sessions.turns_mean == 3.0
    kept = moments_of(fit.sample[:, 0], fit.sample[:, 1])
    assert kept.isl_mean == pytest.approx(isl.mean(), rel=1e-3)
