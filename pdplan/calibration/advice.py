"""What has to be measured for a constant to be told."""

_FLOOR = "prompts of a few tokens, on models of different depth"
_STEP = "decode steps at batch 1, on models of different depth"
_EXPERTS = "needs a mixture-of-experts model, at several batches"
ADVICE = {
    "gemm": "prompts of 100 to 1,000 tokens, between memory-bound and compute-bound",
    "gemm.mfu": "prompts of 1,000 tokens and more, with weights in that type",
    "gemm.mbu": "decode steps at batch 1, with weights in that type",
    "gemm.floor": _FLOOR,
    "gemm.elementwise_mbu": "long prompts, on models of different width",
    "attention.prefill": "long prompts: 16,000 tokens and more",
    "attention.prefill_fill": "long prompts, on models with few heads",
    "attention.prefill_floor": _FLOOR,
    "attention.decode_mbu": "decode steps at long contexts and large batches",
    "attention.decode_floor": _STEP,
    "attention.latent": "needs a model with latent attention (MLA)",
    "encoder": "phase encode: images of several sizes",
    "encoder.frame": "video, which no phase of predict measures yet",
    "experts": _EXPERTS,
    "experts.imbalance": "needs a mixture-of-experts model with ep > 1",
    "collectives": "needs tp > 1: short and long prompts at several tp",
    "collectives.library": "needs tp > 1 and long prompts",
    "collectives.exchange": "needs a mixture-of-experts model with dp > 1",
    "overhead.prefill": _FLOOR,
    "overhead.decode": _STEP,
    "overhead.step": _STEP,
    "overhead.sequence": "vary the batch",
    "overhead.request": "time to first token of short prompts",
    "overhead.serial": "phase serve: TTFT at several concurrencies",
    "overhead.clump": "phase serve: TTFT at several concurrencies",
    "network": "phase transfer: several sizes",
}
"""By the beginning of a constant's path; the longest that fits holds."""


def advice(path: str) -> str:
    """Say what would identify a constant.

    >>> advice("gemm.mfu.fp8")
    'prompts of 1,000 tokens and more, with weights in that type'
    """
    fitting = [start for start in ADVICE if path.startswith(start)]
    return ADVICE[max(fitting, key=len)] if fitting else "vary what it depends on"
