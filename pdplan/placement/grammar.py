"""The placement notation: `E-P-D`, `EP-D`, `(E-P)-D` (after EPD-Serve, arXiv 2601.11590).

Letters written together run in one process, parentheses put processes on the same devices, and
`-` is a network hop between pools (inside parentheses none). `A-F` is decode in two halves that
work in turn; `M-` prepares media on the host or the video engines of the devices that encode.
Where groups of request classes have pools of their own, their placements are joined by ` + `.
"""

import re
from dataclasses import dataclass

from pdplan.errors import SpecError

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
"""Placements that are tried unless others are asked for: what engines in service can do."""
SPLIT_DECODE = "AF"
"""Name of the pool whose instances decode in two halves, written `A-F`."""
JOINED = " + "
"""Between the placements of groups of classes that share nothing."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Processes in the order that a request visits them, and which of them share devices."""

    text: str
    pools: tuple[str, ...]
    """Stage letters of each process, in the order that a request visits them."""
    devices: tuple[tuple[int, ...], ...]
    """Positions of the processes on the same devices; most are alone."""

    @property
    def units(self) -> tuple[tuple[str, ...], ...]:
        """Stage letters of the processes on each kind of devices."""
        return tuple(tuple(self.pools[i] for i in group) for group in self.devices)

    @property
    def device_of(self) -> tuple[int, ...]:
        """Position among `devices` of each process."""
        found = {i: g for g, group in enumerate(self.devices) for i in group}
        return tuple(found[i] for i in range(len(self.pools)))

    @property
    def encodes(self) -> bool:
        """Whether it has an encode stage."""
        return "E" in self.text

    @property
    def encode_apart(self) -> bool:
        """Whether embeddings travel over the network."""
        return self.encodes and self._on("E") != self._on("P")

    @property
    def decode_alone(self) -> bool:
        """Whether a process of its own decodes."""
        return "D" in self.pools or SPLIT_DECODE in self.pools

    @property
    def decode_apart(self) -> bool:
        """Whether KV travels over the network."""
        return self.decode_alone and self._on("D") != self._on("P")

    def _on(self, stage: str) -> int:
        """Devices that run a stage."""
        for i, pool in enumerate(self.pools):
            if stage in pool or (stage == "D" and pool == SPLIT_DECODE):
                return self.device_of[i]
        message = f"placement {self.text} has no stage {stage}"
        raise ValueError(message)

    def label(self, instances: tuple[int, ...]) -> str:
        """Write counts of instances the way papers do.

        >>> parse_placement("E-P-D").label((2, 3, 4))
        '2E3P4D'
        >>> parse_placement("(E-D)-P").label((2, 3, 2))
        '2(E-D)3P'
        """
        parts = []
        for group, unit in zip(self.devices, self.units, strict=True):
            worked = [name for name in unit if name != "M"]
            name = worked[0] if len(worked) == 1 else f"({'-'.join(worked)})"
            parts.append(f"{instances[group[-1]]}{name}")
        return "".join(parts)


def parse_placement(text: str) -> Placement:
    """Read a placement; raises SpecError if it is not one.

    >>> parse_placement("EP-D").pools
    ('EP', 'D')
    >>> parse_placement("(E-D)-P").pools, parse_placement("(E-D)-P").devices
    (('E', 'P', 'D'), ((0, 2), (1,)))
    >>> parse_placement("M-(E-P)-D").units, parse_placement("P-A-F").pools
    ((('M', 'E', 'P'), ('D',)), ('P', 'AF'))
    """
    if not re.fullmatch(r"(\([MEPDAF]+(-[MEPDAF]+)*\)|[MEPDAF]+)(-(\([MEPDAF]+(-[MEPDAF]+)*\)|[MEPDAF]+))*", text):  # fmt: skip  # noqa: E501
        unknown = sorted(set(text) - set(STAGES) - set("()-"))
        raise _wrong(text, f"'{unknown[0]}' is not a stage" if unknown else "is not a placement")
    units = [part.strip("()").split("-") for part in re.findall(r"\([^)]*\)|[MEPDAF]+", text)]
    problem = _problem(units)
    if problem is not None:
        raise _wrong(text, problem)
    units = _joined_halves(units)
    if units[0] == ["M"]:
        encoder = next(unit for unit in units if any("E" in process for process in unit))
        encoder.insert(0, "M")
        del units[0]
    pools = sorted((p for unit in units for p in unit), key=lambda p: ORDER.index(p[0]))
    order = sorted(units, key=lambda unit: min(pools.index(p) for p in unit))
    devices = tuple(tuple(sorted(pools.index(p) for p in unit)) for unit in order)
    return Placement(text, tuple(pools), devices)


def _problem(units: list[list[str]]) -> str | None:
    """What keeps processes on devices from being a placement."""
    processes = [process for unit in units for process in unit]
    letters = "".join(processes)
    if any(letters.count(letter) > 1 for letter in letters):
        return "a stage is named twice"
    for process in processes:
        if [*process] != sorted(process, key=ORDER.index):
            return f"stages come in the order {ORDER}"
        if "E" in process and "D" in process and "P" not in process:
            return f"'{process}' leaves out the prefill between encode and decode"
        if len(process) > 1 and set(process) & set("MAF"):
            return "M, A and F are processes of their own"
    alone = [unit[0] for unit in units if len(unit) == 1]
    if [p[0] for p in alone] != sorted((p[0] for p in alone), key=ORDER.index):
        return f"stages come in the order {ORDER}"
    if "M" in letters and (units[0] != ["M"] or "E" not in letters):
        return "M comes first, alone, and needs E after it"
    halves = {"A", "F"} & set(letters)
    if len(halves) == 1 or (halves and "D" in letters) or not halves <= {*alone}:
        return "A and F stand apart from each other and together take the place of D"
    if "P" not in letters or not {"D", "A"} & set(letters):
        return "needs P and D (or A-F)"
    return None


def _joined_halves(units: list[list[str]]) -> list[list[str]]:
    """One pool for both halves of decode."""
    joined = [unit for unit in units if unit != ["F"]]
    return [[SPLIT_DECODE] if unit == ["A"] else unit for unit in joined]


def without_media(text: str) -> str:
    """Leave the stages out that only media need.

    >>> [without_media(t) for t in ("E-P-D", "EP-D", "PD", "(E-P)-D", "M-(E-P-D)", "(E-PD)")]
    ['P-D', 'P-D', 'PD', 'P-D', '(P-D)', 'PD']
    """
    units = re.findall(r"\([^)]*\)|[MEPDAF]+", text)
    kept = []
    for unit in units:
        inside = [p.replace("E", "") for p in unit.strip("()").split("-") if p not in ("E", "M")]
        if inside:
            kept.append(inside[0] if len(inside) == 1 else f"({'-'.join(inside)})")
    return "-".join(sorted(kept, key=lambda unit: ORDER.index(unit.strip("(")[0])))


def _wrong(text: str, what: str) -> SpecError:
    known = f"{', '.join(COVERED)}, (P-D), (E-P)-D, M-(E-P-D), P-A-F"
    message = f"placement '{text}': {what}; expected one of {known} or another in this notation"
    return SpecError(message)
