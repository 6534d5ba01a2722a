"""The placement notation: `E-P-D`, `EP-D`, `(E-P)-D` (after EPD-Serve, arXiv 2601.11590).

Letters written together run in one process, parentheses put processes on the same devices, and
`-` is a network hop between pools. Where groups of request classes have pools of their own, their
placements are joined by ` + `.
"""

from dataclasses import dataclass

from pdplan.errors import SpecError, UnfitError

STAGES = {
    "M": "media pre-processing",
    "E": "encode",
    "P": "prefill",
    "D": "decode",
    "A": "attention half of decode",
    "F": "FFN half of decode",
}
ORDER = "MEPDAF"
COVERED = ("PD", "EPD", "P-D", "EP-D", "E-PD", "E-P-D")
"""Placements that a plan can be made for."""
JOINED = " + "
"""Between the placements of groups of classes that share nothing."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A placement whose pools each run on devices of their own."""

    text: str
    pools: tuple[str, ...]
    """Stage letters of each pool, in the order that a request visits them."""

    @property
    def encodes(self) -> bool:
        """Whether it has an encode stage."""
        return "E" in self.text

    @property
    def encode_apart(self) -> bool:
        """Whether embeddings travel over the network."""
        return "E" in self.pools

    @property
    def decode_apart(self) -> bool:
        """Whether KV travels over the network."""
        return "D" in self.pools

    def label(self, instances: tuple[int, ...]) -> str:
        """Write counts of instances the way papers do.

        >>> parse_placement("E-P-D").label((2, 3, 4))
        '2E3P4D'
        """
        return "".join(f"{n}{pool}" for n, pool in zip(instances, self.pools, strict=True))


def parse_placement(text: str) -> Placement:
    """Read a placement; raises SpecError if it is not one, UnfitError if it cannot be planned.

    >>> parse_placement("EP-D").pools
    ('EP', 'D')
    """
    plain = text.replace("(", "").replace(")", "")
    pools = tuple(plain.split("-"))
    letters = plain.replace("-", "")
    if not letters or not all(pools) or text.count("(") != text.count(")"):
        raise SpecError(_message(text, "is not a placement"))
    unknown = sorted(set(letters) - set(STAGES))
    if unknown:
        raise SpecError(_message(text, f"'{unknown[0]}' is not a stage"))
    if any(letters.count(letter) > 1 for letter in letters):
        raise SpecError(_message(text, "a stage is named twice"))
    if [*letters] != sorted(letters, key=ORDER.index):
        raise SpecError(_message(text, f"stages come in the order {ORDER}"))
    if text not in COVERED:
        raise UnfitError(_message(text, "cannot be planned yet"))
    return Placement(text, pools)


def _message(text: str, what: str) -> str:
    return f"placement '{text}': {what}; expected one of {', '.join(COVERED)}"
