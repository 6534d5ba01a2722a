"""The placement notation, and what it refuses."""

import pytest

from pdplan.errors import SpecError, UnfitError
from pdplan.placement import COVERED, parse_placement

EXPECTED = "expected one of PD, EPD, P-D, EP-D, E-PD, E-P-D"


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
    ],
)
def test_what_is_no_placement(text, what):
    with pytest.raises(SpecError) as caught:
        parse_placement(text)
    assert str(caught.value) == f"placement '{text}': {what}; {EXPECTED}"


@pytest.mark.parametrize("text", ["(P-D)", "(E-P)-D", "(E-D)-P", "P-A-F", "M-E-P-D", "E", "P"])
def test_what_cannot_be_planned_yet(text):
    with pytest.raises((UnfitError, SpecError)) as caught:
        parse_placement(text)
    assert str(caught.value).startswith(f"placement '{text}': ")
    assert str(caught.value).endswith(EXPECTED)
