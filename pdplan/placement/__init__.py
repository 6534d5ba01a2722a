"""Placements: which stages share a process, which share devices, and what moves between pools."""

from pdplan.placement.grammar import (
    COVERED,
    JOINED,
    SPLIT_DECODE,
    Placement,
    parse_placement,
    without_media,
)
from pdplan.placement.latency import Chain

__all__ = [
    "COVERED",
    "JOINED",
    "SPLIT_DECODE",
    "Chain",
    "Placement",
    "parse_placement",
    "without_media",
]
