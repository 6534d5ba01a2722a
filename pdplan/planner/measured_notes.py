"""What is said of a fleet whose instances were measured: fractions of instances, and sources."""

from collections.abc import Iterator
from dataclasses import replace

from pdplan.plan import Provenance
from pdplan.planner.fleet import Fleet
from pdplan.pools.needed import needed
from pdplan.units import parse_quantity


def measured_notes(fleet: Fleet) -> Iterator[str]:
    """Instances that all of the traffic takes, not rounded, beside those that there are.

    Where rounding leaves traffic out, also how much the fleet is planned for.
    """
    option = fleet.demand.options.measured
    if option is None or fleet.apart:
        return
    traffic = fleet.demand.traffic
    asked = parse_quantity(str(fleet.workload["rate"]), "rps") * traffic.peak_factor
    share = fleet.demand.rate_rps / asked
    raw = needed(replace(fleet.demand, traffic=replace(traffic, rate_rps=asked)))
    counts = {member.pool.stages: member.pool.instances for member in fleet.members}
    yield (
        f"measured instances: {raw.prefill:.2f} prefill and {raw.decode:.2f} decode carry all of "
        f"the traffic; there are {counts.get('P', 0)} and {counts.get('D', 0)}"
    )
    if share < 1 - 1e-9:
        yield (
            f"planned for {share:.1%} of the traffic (rounding {option.rounding}); "
            "latencies are at that rate"
        )
    longest = float(fleet.demand.new_tokens.max())
    chunk = min(member.chunk_tokens for member in fleet.members if member.pool.stages == "P")
    if longest > chunk:
        yield (
            f"prompts of up to {longest:.0f} tokens exceed chunk_tokens {chunk}: cut into passes, "
            "where measured prefill is one prompt after another"
        )


def measured_provenance(fleet: Fleet) -> Iterator[Provenance]:
    """Where measured throughput comes from."""
    option = fleet.demand.options.measured
    if option is not None:
        for name in ("prefill throughput", "decode curve", "overhead"):
            yield Provenance(f"measured: {name}", "user", option.source)
