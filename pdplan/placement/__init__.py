"""Placements: which stages share a process, which share devices, and what moves between pools."""

from pdplan.placement.grammar import (
    COVERED,
    JOINED,
    Placement,
    parse_placement,
)
from pdplan.placement.latency import Chain

__all__ = ["COVERED", "JOINED", "Chain", "Placement", "parse_placement"]
