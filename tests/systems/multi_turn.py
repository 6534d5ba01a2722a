"""Fleets of prefill and decode for sessions, as plan files say them."""

import yaml

from pdplan.specs.plan_file import load_plan

LLAMA = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "tp": 1}
QWEN = {"model": "qwen3-32b", "hardware": "h20", "tp": 2}


def chats(turns=3.1, rate=16, isl=700, osl=250, think="10 s", **session):
    return {
        "name": "chats",
        "rate": f"{rate} req/s",
        "isl": isl,
        "osl": {"lognormal": {"mean": osl, "cv": 0.8}},
        "session": {"turns": turns, "think": think, **session},
        "ttft": "300 ms",
        "tpot": "30 ms",
    }


def fleet(folder, workload, prefill, decode, share=None, *, on=LLAMA, pool=None, **option):
    """So many prefill and decode instances; without prefill, replicas that do both."""
    each = {key: on[key] for key in ("hardware", "tp")}
    pools = [
        {"name": "prefill", "stages": "P", "instances": prefill, **each},
        {"name": "decode", "stages": "D", "instances": decode, **each, "options": pool or {}},
    ]
    if not prefill:
        pools = [{"name": "replicas", "stages": "PD", "instances": decode, **each}]
    plan = {
        "placement": "P-D" if prefill else "PD",
        "model": on["model"],
        "workload": workload,
        "pools": pools,
    }
    if share is not None:
        plan["options"] = {"local_prefill": {"share": share, **option}}
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan), encoding="utf-8")
    return load_plan(path)
