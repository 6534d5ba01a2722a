import csv
import importlib.util
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pdplan.errors import SpecError
from pdplan.plan import ClassPrediction, Spread, Target
from pdplan.report.gaps import findings, gaps, largest, terms_s
from pdplan.report.parts import Parts
from pdplan.report.render import csv_grid, render_blocks, render_data
from pdplan.report.row_file import ROW_COLUMNS, RowFile
from pdplan.report.simulation import (
    Check,
    gap_grid,
    headline,
    objectives,
    simulation_blocks,
    simulation_data,
)
from pdplan.simulation.result import Estimate, LinkRun

_SPEC = importlib.util.spec_from_file_location(
    "simulated_by_hand", Path(__file__).parent / "simulated_by_hand.py"
)
by_hand = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(by_hand)

ENDLESS = Spread(*[math.inf] * 5)


def classed(plan, *names):
    """The plan with classes that all see what the fleet sees."""
    said = plan.prediction
    kinds = tuple(
        ClassPrediction(
            name=name,
            share=1 / len(names),
            attainment=said.attainment,
            ttft_s=said.ttft_s,
            tpot_s=said.tpot_s,
            itl_s=said.itl_s,
            e2e_s=said.e2e_s,
        )
        for name in names
    )
    return replace(plan, prediction=replace(said, classes=kinds))


@pytest.fixture
def one(plan):
    return classed(plan, "all")


def text_of(check, form="table"):
    return render_blocks(simulation_blocks(check), form)


def with_pool(run, name, **changes):
    pools = tuple(replace(p, **changes) if p.name == name else p for p in run.pools)
    return replace(run, pools=pools)


def test_a_gap_is_closed_form_over_simulation(one):
    found = {gap.label: gap for gap in gaps(one, by_hand.simulated(one, ttft=1.25))}
    assert found["TTFT p90"].gap == pytest.approx(1 / 1.25 - 1)
    assert found["TTFT p90"].outside is True
    assert found["TPOT mean"].gap == pytest.approx(0.0)
    assert found["TPOT mean"].outside is False
    assert found["attainment"].gap == pytest.approx(0.9833 - 0.97)
    assert found["goodput"].outside is None
    metrics = {gap.metric for gap in found.values()}
    assert metrics == {"ttft", "tpot", "itl", "e2e", "attainment", "goodput"}


def test_every_latency_has_five_rows_and_an_interval(one):
    text = text_of(Check(one, by_hand.simulated(one, ttft=1.25)))
    for metric in ("TTFT", "TPOT", "ITL", "E2E"):
        for statistic in ("mean", "p50", "p90", "p95", "p99"):
            assert f"\n  {metric} {statistic} " in text
    assert "TTFT p90    620 ms       775 ms      759 ms to 791 ms    -20 % !\n" in text
    assert "attainment  98.3 %       97 %        96 % to 98 %        +1.3 pt !\n" in text
    assert "goodput     5.9 req/s    5.9 req/s   -                   +0.0 %\n" in text


def test_objectives_are_judged_by_their_interval(one):
    said = one.prediction
    targets = (
        Target("all", "ttft", 90, 0.8, 0.62),
        Target("all", "ttft", 99, 0.7, 0.9996),
        Target("all", "tpot", 90, 0.0311, 0.031),
    )
    plan = replace(one, prediction=replace(said, targets=targets))
    rows = objectives(plan, by_hand.simulated(plan)).rows
    assert [row[4] for row in rows] == ["met", "MISSED", "too close to tell"]
    assert rows[0][0] == "TTFT p90 <= 800 ms"
    assert rows[0][1:4] == (0.62, 0.62, "608 ms to 632 ms")


def test_a_class_that_did_not_occur_is_not_judged(plan):
    run = by_hand.simulated(classed(plan, "all"), classes=())
    assert [row[2:] for row in objectives(plan, run).rows] == [(None, None, "not seen")] * 2


def test_classes_have_their_own_tables(plan):
    two = classed(plan, "chat", "code")
    text = text_of(Check(two, by_hand.simulated(two)))
    assert "\nClass chat\n" in text
    assert "\nClass code\n" in text
    names = {(gap.part, gap.name) for gap in gaps(two, by_hand.simulated(two))}
    assert names == {("fleet", ""), ("class", "chat"), ("class", "code")}
    assert "Class " not in text_of(Check(classed(plan, "all"), by_hand.simulated(plan)))


def test_the_largest_gap_outside_its_interval_is_named(one):
    run = by_hand.simulated(one, tpot=1.1)
    noisy = replace(run, e2e_s=by_hand.latency(one.prediction.e2e_s, 1.5, width=0.9))
    worst = largest(gaps(one, noisy))
    assert worst.metric in ("tpot", "itl")
    run = by_hand.simulated(one, ttft=1.3)
    sentence = findings(one, run, gaps(one, run))[0]
    name = largest(gaps(one, run)).label
    assert sentence.startswith(f"Largest gap: {name}, closed form ")
    assert "(-23 %), outside the 95 % interval, " in sentence
    assert sentence.endswith(". Outside theirs are 5 of 20 latencies.")


def test_a_gap_within_its_interval_is_called_chance(one):
    said = findings(one, by_hand.simulated(one), gaps(one, by_hand.simulated(one)))
    assert "this run cannot tell the two apart" in said[0]
    assert said[1] == (
        "No pool is near a limit and none preempted; the numbers do not tell where the gap "
        "comes from."
    )


def test_preemptions_load_and_batch_limits_are_named(one):
    pools = tuple(
        replace(pool, utilization=0.97) if pool.name == "decode" else pool for pool in one.pools
    )
    plan = replace(one, pools=pools)
    run = with_pool(
        by_hand.simulated(plan, tpot=1.2),
        "decode", preemptions=400, peak_cache_share=1.0, mean_batch=250.0,
    )  # fmt: skip
    said = findings(plan, run, gaps(plan, run))
    assert said[1:] == (
        "decode: 400 pre-emptions (2 for 100 requests) with its cache 100 % full at most; the "
        "closed form recomputes nothing.",
        "decode: loaded to 97 % of its capacity; waits grow as 1 / (1 - load), so 1 % more work a "
        "request makes them 32 % longer or more.",
        "decode: 250 requests in a step on average, at most 256: the batch limit binds, others "
        "wait to be admitted.",
    )
    full = with_pool(by_hand.simulated(one, tpot=1.2), "decode", peak_cache_share=0.99)
    assert findings(one, full, gaps(one, full))[1:] == (
        "decode: its cache was 99 % full at times.",
    )


def test_decode_alone_explains_tpot_and_all_pools_ttft(one):
    pools = tuple(replace(pool, utilization=0.95) for pool in one.pools)
    plan = replace(one, pools=pools)
    told = {}
    for metric in ("ttft", "tpot"):
        run = by_hand.simulated(plan, **{metric: 1.3})
        lines = findings(plan, run, gaps(plan, run))[1:]
        told[metric] = [line.partition(":")[0] for line in lines]
    assert told == {"ttft": ["prefill", "decode"], "tpot": ["decode"]}


def test_the_part_that_differs_is_named(one):
    run = by_hand.simulated(one, ttft=1.3)
    parts = terms_s(one) | {"prefill wait": 0.19}
    said = findings(one, run, gaps(one, run), parts)
    assert said[1] == (
        "Mean time to first token, closed form against simulation: prefill wait 90 ms against "
        "190 ms."
    )
    assert findings(one, run, gaps(one, run), terms_s(one))[1].startswith("No pool is near")


def test_without_a_steady_state_there_is_no_closed_form(one):
    said = replace(one.prediction, ttft_s=ENDLESS, e2e_s=ENDLESS)
    pools = (replace(one.pools[0], utilization=1.07, capacity_rps=5.6), *one.pools[1:])
    plan = replace(one, prediction=said, pools=pools)
    run = by_hand.simulated(one)
    check = Check(plan, run)
    text = text_of(check)
    assert "TTFT p90    -            620 ms" in text
    assert check.findings == (
        "At 6 req/s the closed form has no steady state (prefill takes 5.6 req/s at most): a queue "
        "grows without end. The simulation shows 3,000 s of that; a longer run shows longer waits.",
    )
    data = json.loads(render_data(simulation_data(check), "json"))
    assert data["closed_form"]["ttft_s"]["p90"] is None
    assert data["closed_form"]["steady"] is False


def test_the_headline_says_what_was_run(one):
    run = by_hand.simulated(one)
    assert headline(Check(one, run)) == (
        "P-D 3P2D: llama-3.1-70b on vllm at 6 req/s",
        "18,000 requests simulated after a warm-up of 2,000, seed 1: 3,000 s of the fleet's time, "
        "6 req/s came",
    )
    replayed = headline(Check(one, replace(run, seed=None, warmup=0), trace="monday.csv"))
    assert replayed[1].startswith("18,000 requests simulated, trace ")
    assert ", trace monday.csv: " in replayed[1]


def test_an_interrupted_run_says_so_everywhere(one):
    check = Check(one, by_hand.simulated(one, complete=False), wanted=18_000)
    line = "INTERRUPTED after 3,000 of 18,000 requests: these are the numbers of the part that ran"
    for form in ("table", "md"):
        assert line in text_of(check, form)
    rows = list(csv.DictReader(io.StringIO(csv_grid(gap_grid(check)), newline="")))
    assert {row["complete"] for row in rows} == {"false"}
    assert simulation_data(check)["simulation"]["complete"] is False
    unknown = Check(one, by_hand.simulated(one, complete=False))
    assert headline(unknown)[2].startswith("INTERRUPTED after 3,000 requests: ")


def test_an_empty_run_has_no_numbers_and_no_crash(one):
    none = Estimate(math.nan, math.nan, math.nan)
    empty = replace(by_hand.simulated(one, complete=False), requests=0, attainment=none)
    for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s"):
        nothing = replace(empty.ttft_s, **dict.fromkeys(("mean", "p50", "p90", "p95", "p99"), none))
        empty = replace(empty, **{name: nothing})
    check = Check(one, replace(empty, classes=(), pools=(), links=()))
    assert ("\nINTERRUPTED while the fleet was still filling: nothing was counted\n") in text_of(
        check
    )
    assert "nan" not in text_of(check)
    assert check.findings == ()


def test_data_has_the_keys_and_si_units(one):
    check = Check(one, by_hand.simulated(one, ttft=1.25), wanted=18_000)
    data = json.loads(render_data(simulation_data(check), "json"))
    assert list(data) == ["simulation", "closed_form", "gaps", "findings"]
    assert data["simulation"]["ttft_s"]["p90"] == {
        "value": 0.775, "low": pytest.approx(0.7595), "high": pytest.approx(0.7905),
    }  # fmt: skip
    assert data["simulation"]["pools"][1]["preemptions"] == 0
    for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s"):
        assert list(data["closed_form"][name]) == ["mean", "p50", "p90", "p95", "p99"]
    assert data["closed_form"]["ttft_s"]["p90"] == 0.62
    first = data["gaps"][0]
    assert list(first) == [
        *("part", "name", "metric", "statistic", "unit"),
        *("closed_form", "simulation", "low", "high", "gap", "outside"),
    ]
    assert (first["metric"], first["statistic"], first["unit"]) == ("ttft", "mean", "s")
    assert first["gap"] == pytest.approx(-0.2)
    assert yaml.safe_load(render_data(simulation_data(check), "yaml")) == data


def test_csv_has_all_digits(one):
    check = Check(one, by_hand.simulated(one, ttft=1.25))
    rows = list(csv.DictReader(io.StringIO(csv_grid(gap_grid(check)), newline="")))
    assert len(rows) == 22
    found = next(r for r in rows if (r["metric"], r["statistic"]) == ("ttft", "p90"))
    assert float(found["closed_form"]) == 0.62
    assert float(found["simulation"]) == 0.775
    assert (found["unit"], found["outside"], found["complete"]) == ("s", "true", "true")


def test_links_and_pools_stand_side_by_side(one):
    run = replace(by_hand.simulated(one), links=(LinkRun("prefill", "decode", 0.07, 0.0004),))
    text = text_of(Check(one, run))
    assert "prefill -> decode       5.2 %         7 %     400 us\n" in text
    assert "  prefill   71 %   80 %" in text


def test_parts_are_means():
    parts = Parts()
    assert (parts.means_s(), parts.mean_tokens()) == (None, None)
    parts(by_hand.row(0))
    parts(replace(by_hand.row(1), prefill_wait_s=0.25))
    assert parts.means_s() == pytest.approx(
        {"encode wait": 0, "encode": 0, "prefill wait": 0.2, "prefill": 0.2, "transfer": 0.02,
         "decode wait": 0}
    )  # fmt: skip
    assert parts.mean_tokens() == (1500.0, 250.0)


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_appear_whole_and_at_the_end(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with RowFile(path) as file:
        for i in range(3):
            file(by_hand.row(i, name="=cmd()" if i else "a,b", tpot_s=math.nan))
        assert path.read_text() == "old"
    rows = read(path)
    assert tuple(rows[0]) == ROW_COLUMNS
    assert [row["request"] for row in rows] == ["0", "1", "2"]
    assert [row["request_class"] for row in rows] == ["a,b", "'=cmd()", "'=cmd()"]
    assert [row["tpot_s"] for row in rows] == ["", "", ""]
    assert {row["complete"] for row in rows} == {"true"}
    assert [found.name for found in tmp_path.iterdir()] == ["rows.csv"]


def test_rows_of_an_interrupted_run_are_labelled(tmp_path):
    path = tmp_path / "rows.csv"
    with RowFile(path) as file:
        file(by_hand.row(0, name="two\r\nlines,true"))
        file(by_hand.row(1))
        file.complete = False
    rows = read(path)
    assert [row["complete"] for row in rows] == ["false", "false"]
    assert rows[0]["request_class"] == "two\r\nlines,true"
    assert [found.name for found in tmp_path.iterdir()] == ["rows.csv"]


def test_after_a_failure_the_old_rows_stand(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    message = "no"
    with pytest.raises(SpecError, match=r"^no$"), RowFile(path) as file:  # noqa: PT012
        file(by_hand.row(0))
        raise SpecError(message)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_a_message():
    with pytest.raises(SpecError) as caught, RowFile(Path("/dev/full")) as file:
        file(by_hand.row(0))
    assert str(caught.value) == "/dev/full: cannot be written: No space left on device"


def test_a_run_too_short_to_fill_its_fleet_says_so(one):
    run = by_hand.simulated(one)
    short = replace(run, span_s=2 * run.e2e_s.mean.value)
    assert "still filling. Ask for more --requests." in findings(one, short, gaps(one, short))[1]
    replayed = replace(short, seed=None)
    for whole in (run, replayed):
        assert not any("filling" in line for line in findings(one, whole, gaps(one, whole)))
