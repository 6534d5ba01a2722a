import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.units import (
    DIMENSIONS,
    format_seconds,
    format_si,
    parse_milliseconds,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("80 GB", "bytes", 80e9),
        ("80 GiB", "bytes", 80 * 2**30),
        ("81559MiB", "bytes", 81559 * 2**20),
        ("230 MB", "bytes", 230e6),
        ("3.35 TB/s", "bytes_per_s", 3.35e12),
        ("450 GBps", "bytes_per_s", 450e9),
        ("400 Gb/s", "bytes_per_s", 50e9),
        ("400 Gbps", "bytes_per_s", 50e9),
        ("400 Gbit/s", "bytes_per_s", 50e9),
        ("820 GiB/s", "bytes_per_s", 820 * 2**30),
        ("989.4 TFLOP/s", "flops_per_s", 989.4e12),
        ("1.979 PFLOPS", "flops_per_s", 1.979e15),
        ("750 TOP/s", "flops_per_s", 750e12),
        ("300 ms", "s", 0.3),
        ("2.5s", "s", 2.5),
        ("5 us", "s", 5e-6),
        ("5 µs", "s", 5e-6),
        ("2 h", "s", 7200.0),
        ("20 req/s", "rps", 20.0),
        ("90 rpm", "rps", 1.5),
        ("86,400 req/day", "rps", 1.0),
        ("6.88 USD/h", "usd_per_hour", 6.88),
        ("27500 USD", "usd", 27500.0),
        ("1.2 kW", "w", 1200.0),
        ("2 fps", "hz", 2.0),
        ("12.8 MP", "pixels", 12.8e6),
        ("1e-3 s", "s", 1e-3),
        (".5 s", "s", 0.5),
        ("1_000 W", "w", 1000.0),
    ],
)
def test_parse(text, dimension, value):
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


def test_gb_and_gib_differ_by_seven_percent():
    ratio = parse_quantity("1 GiB", "bytes") / parse_quantity("1 GB", "bytes")
    assert ratio == pytest.approx(1.073741824)


def test_a_byte_is_eight_bits():
    bits, nbytes = (parse_quantity(f"8 {unit}/s", "bytes_per_s") for unit in ("Gb", "GB"))
    assert nbytes == 8 * bits


def test_a_capacity_is_not_given_in_bits():
    with pytest.raises(ValueError) as error:
        parse_quantity("80 Gb", "bytes")
    assert str(error.value) == "unknown unit 'Gb'; expected for example '80 GB'"


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_example_of_each_dimension_is_legal_and_shown_for_a_bare_number(dimension):
    example = DIMENSIONS[dimension][1]
    assert parse_quantity(example, dimension) > 0
    for bare in (80, 80.5, True, None):
        with pytest.raises(ValueError) as error:
            parse_quantity(bare, dimension)
        expected = f"needs a number and a unit, for example '{example}'; got {bare}"
        assert str(error.value) == expected


@pytest.mark.parametrize("text", ["GB", "", " ", "80 G B", "nan GB", "inf GB", "GB 80"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError) as error:
        parse_quantity(text, "bytes")
    assert str(error.value) == f"needs a number and a unit, for example '80 GB'; got {text!r}"


@pytest.mark.parametrize(("text", "unit"), [("80 gb", "gb"), ("0x8", "x8"), ("80 GB/s", "GB/s")])
def test_an_unknown_unit(text, unit):
    with pytest.raises(ValueError) as error:
        parse_quantity(text, "bytes")
    assert str(error.value) == f"unknown unit '{unit}'; expected for example '80 GB'"


@pytest.mark.parametrize("text", ["-1 GB", "-0.5 GB", "1e999 GB"])
def test_out_of_range(text):
    with pytest.raises(ValueError) as error:
        parse_quantity(text, "bytes")
    assert str(error.value) == f"must be a finite number of at least 0; got {text}"


@given(st.sampled_from(sorted(DIMENSIONS)), st.floats(0, 1e12), st.data())
def test_every_unit_scales_linearly(dimension, number, data):
    unit, factor = data.draw(st.sampled_from(sorted(DIMENSIONS[dimension][0].items())))
    assert parse_quantity(f"{number!r} {unit}", dimension) == number * factor


@given(st.floats(1.0, 1e18), st.sampled_from([("B", "bytes"), ("B/s", "bytes_per_s")]))
def test_reading_what_was_written_comes_close(value, unit):
    name, dimension = unit
    written = format_si(value, name, digits=6)
    assert parse_quantity(written, dimension) == pytest.approx(value, rel=1e-5)  # six digits


@given(st.floats(1e-6, 1e5))
def test_reading_a_written_duration_comes_close(value):
    written = format_seconds(value)
    assert parse_quantity(written, "s") == pytest.approx(value, rel=6e-3)  # three digits


def test_format_seconds_of_no_end():
    assert format_seconds(math.inf) == "never"


@pytest.mark.parametrize(
    ("text", "value"),
    [("800", 0.8), ("0.5", 0.0005), ("0.5s", 0.5), ("300ms", 0.3), ("300 ms", 0.3)],
)
def test_parse_milliseconds(text, value):
    assert parse_milliseconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["-5", "nan", "inf", "fast", "5 GB"])
def test_parse_milliseconds_refuses(text):
    with pytest.raises(ValueError):
        parse_milliseconds(text)
