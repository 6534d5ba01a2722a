"""The placement notation, and what it refuses."""

import pytest

from pdplan.errors import SpecError
from pdplan.placement import COVERED, parse_placement, without_media

EXPECTED = (
    "expected one of PD, EPD, P-D, EP-D, E-PD, E-P-D, (P-D), (E-P)-D, M-(E-P-D), P-A-F or another "
    "in this notation"
)


@pytest.mark.parametrize("text", COVERED)
def test_covered_placements_read_back(text):
    placement = parse_placement(text)
    assert "-".join(placement.pools) == placement.text == text
    assert placement.encodes == ("E" in text)
    assert placement.encode_apart == text.startswith("E-")
    assert placement.decode_apart == text.endswith("-D")
    counts = tuple(range(2, 2 + len(placement.pools)))
    label = "".join(f"{n}{pool}" for n, pool in zip(counts, text.split("-"), strict=True))
    assert placement.label(counts) == label


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not a placement"),
        ("-", "is not a placement"),
        ("P-", "is not a placement"),
        ("P--D", "is not a placement"),
        ("(P-D", "is not a placement"),
        ("X-D", "'X' is not a stage"),
        ("p-d", "'d' is not a stage"),
        ("P D", "' ' is not a stage"),
        ("P-P", "a stage is named twice"),
        ("D-P", "stages come in the order MEPDAF"),
        ("PE-D", "stages come in the order MEPDAF"),
        ("E", "needs P and D (or A-F)"),
        ("P", "needs P and D (or A-F)"),
        ("ED-P", "'ED' leaves out the prefill between encode and decode"),
        ("P-A", "A and F stand apart from each other and together take the place of D"),
        ("P-D-A-F", "A and F stand apart from each other and together take the place of D"),
        ("P-(A-F)", "A and F stand apart from each other and together take the place of D"),
        ("M-PD", "M comes first, alone, and needs E after it"),
        ("ME-PD", "M, A and F are processes of their own"),
    ],
)
def test_what_is_no_placement(text, what):
    with pytest.raises(SpecError) as caught:
        parse_placement(text)
    assert str(caught.value) == f"placement '{text}': {what}; {EXPECTED}"


SHARED = [
    ("(P-D)", ("P", "D"), ((0, 1),), False, "2(P-D)"),
    ("(E-P)-D", ("E", "P", "D"), ((0, 1), (2,)), True, "2(E-P)3D"),
    ("(E-D)-P", ("E", "P", "D"), ((0, 2), (1,)), True, "2(E-D)3P"),
    ("(E-PD)", ("E", "PD"), ((0, 1),), False, "2(E-PD)"),
    ("E-(P-D)", ("E", "P", "D"), ((0,), (1, 2)), False, "2E3(P-D)"),
    ("M-(E-P-D)", ("M", "E", "P", "D"), ((0, 1, 2, 3),), False, "2(E-P-D)"),
    ("M-E-P-D", ("M", "E", "P", "D"), ((0, 1), (2,), (3,)), True, "2E3P4D"),
]


@pytest.mark.parametrize(("text", "pools", "devices", "apart", "label"), SHARED)
def test_who_shares_devices(text, pools, devices, apart, label):
    placement = parse_placement(text)
    assert (placement.pools, placement.devices) == (pools, devices)
    assert placement.decode_apart == apart
    counts = tuple(2 + placement.device_of[i] for i in range(len(pools)))
    assert placement.label(counts) == label


def test_decode_in_halves_is_one_pool():
    placement = parse_placement("E-P-A-F")
    assert placement.pools == ("E", "P", "AF")
    assert placement.decode_alone
    assert placement.decode_apart


def test_hops_inside_devices_are_none():
    assert not parse_placement("(E-P)-D").encode_apart
    assert parse_placement("(E-D)-P").encode_apart
    assert parse_placement("(P-D)").decode_alone


@pytest.mark.parametrize(
    ("text", "left"), [("E-P-D", "P-D"), ("(E-D)-P", "P-D"), ("M-EPD", "PD"), ("E-P-A-F", "P-A-F")]
)
def test_without_media_the_stages_for_them_go(text, left):
    assert without_media(text) == left
