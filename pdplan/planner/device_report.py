"""What a plan says of users' devices that take part: rounds of drafts, answers handed over."""

from collections.abc import Iterator

import numpy as np

from pdplan.pools.demand import Demand
from pdplan.pools.table import PoolTable
from pdplan.stages.device_draft import rounds_of, uplink_share
from pdplan.stages.handoff import handed_over
from pdplan.units import format_seconds


def device_report(demand: Demand, table: PoolTable) -> dict[str, object]:
    """Rows of the pool that decodes, by the names of the plan file's pool options."""
    if "D" not in table.stages:
        return {}
    return _rounds(demand, table) | _handed(demand)


def device_caveats(demand: Demand) -> Iterator[str]:
    """What users notice of devices that are not ready in time."""
    option = demand.options.handoff
    if option is None:
        return
    found = handed_over(option, demand.prompt_tokens)
    longest = float(found.gap_s.max())
    if longest > 0 and demand.begun is not None:
        least = handed_over(option.model_copy(update={"tokens": "auto"}), demand.prompt_tokens)
        yield (
            f"users wait up to {format_seconds(longest)} for their devices after "
            f"{found.sent.max():.0f} tokens; {least.sent.max():.0f} would let nobody wait"
        )


def users_share(demand: Demand) -> float:
    """Share of what users' cell carries that they send; 0 without such a limit."""
    return uplink_share(
        demand.options.device_draft,
        demand.model.vocab,
        demand.rate_rps,
        demand.decode_steps,
        float(demand.mean(demand.prompt_tokens)),
    )


def _rounds(demand: Demand, table: PoolTable) -> dict[str, object]:
    """Mean round at the pool's load: its tokens, its bytes, and where its time goes."""
    option = demand.options.device_draft
    rounds = rounds_of(option, demand.model.vocab)
    if option is None or rounds is None or table.times.cycles is None:
        return {}
    cycles = table.times.cycles.alone
    batch = float(np.clip(table.mean_batch[0], 1.0, cycles.batch.shape[-1]))
    sizes = np.arange(1.0, cycles.batch.shape[-1] + 1)
    config = int(table.columns.config[0])
    checked = float(np.interp(batch, sizes, cycles.pass_s[config]))
    round_s = float(table.tpot_mean_s[0]) * demand.tokens_per_step
    up = rounds.up_bytes / rounds.up_bytes_per_s
    down = rounds.down_bytes / rounds.down_bytes_per_s
    found: dict[str, object] = {
        "draft_tokens": rounds.draft_tokens,
        "tokens": rounds.tokens,
        "round_s": round_s,
        "drafting_s": rounds.drafting_s,
        "messages_s": rounds.rtt_s + up + down,
        "check_s": checked,
        "waiting_s": max(round_s - rounds.away_s - checked, 0.0),
        "users_in_a_pass": float(np.interp(batch, sizes, cycles.batch[config])),
        "up_bytes_per_token": rounds.up_bytes / rounds.tokens,
        "down_bytes_per_token": rounds.down_bytes / rounds.tokens,
    }
    if option.cell_uplink is not None:
        found["cell_uplink_share"] = users_share(demand)
    return {"device_rounds": found}


def _handed(demand: Demand) -> dict[str, object]:
    """Mean and largest numbers of tokens that the fleet sends, and what it no longer decodes."""
    option = demand.options.handoff
    if option is None:
        return {}
    found = handed_over(option, demand.prompt_tokens)
    weight, traffic = demand.weight(), demand.traffic
    tokens, share = demand.answers
    decoded = float(weight @ (tokens * share).sum(axis=1))
    return {
        "handed_over": {
            "tokens": float(weight @ found.sent),
            "most_tokens": float(found.sent.max()),
            "kept_prompt": found.kept,
            "device_ready_s": float(weight @ found.ready_s),
            "gap_s": float(weight @ found.gap_s),
            "decoded_tokens": decoded,
            "decode_gain": float(traffic.output_mean) / decoded,
        }
    }
