"""What MLPerf inference calls the models and accelerators that pdplan knows."""

HARDWARE = {
    "AMD MI300X": "mi300x",
    "NVIDIA B200-SXM-180GB": "b200-sxm",
    "NVIDIA GH200 Grace Hopper Superchip 96GB": "gh200",
    "NVIDIA H100-NVL-94GB": "h100-nvl",
    "NVIDIA H100-PCIe-80GB": "h100-pcie",
    "NVIDIA H100-SXM-80GB": "h100-sxm",
    "NVIDIA H200-SXM-141GB": "h200-sxm",
    "NVIDIA L40S": "l40s",
}
"""By how a name begins, after `Instinct` is dropped; `-CTS` is a custom thermal solution."""

MODELS = {
    "gpt-oss": "gpt-oss-120b",
    "llama2-70b": "llama-2-70b",
    "llama3.1-405b": "llama-3.1-405b",
    "llama3_1-405b": "llama-3.1-405b",
    "llama3.1-8b": "llama-3.1-8b",
    "llama3_1-8b": "llama-3.1-8b",
    "mixtral-8x7b": "mixtral-8x7b",
}
"""By how a benchmark's name begins: `llama2-70b-99.9` is the same with a stricter accuracy."""

INPUT_TOKENS = {
    "llama-2-70b": 222.33,
    "mixtral-8x7b": 427.39,
    "llama-3.1-405b": 9428.64,
    "llama-3.1-8b": 870.73,
}
"""Mean input length of the benchmark's data set, from MLCommons' per-sample length tables."""

DTYPES = {"fp8": "fp8", "fp4": "nvfp4", "fp16": "fp16", "bf16": "bf16", "int8": "int8"}


def hardware_id(accelerator: str) -> str:
    """Hardware of an accelerator name, else nothing."""
    return _first(HARDWARE, accelerator.replace("Instinct ", ""))


def model_id(benchmark: str) -> str:
    """Model of a benchmark name, else nothing."""
    return _first(MODELS, benchmark)


def _first(names: dict[str, str], name: str) -> str:
    return next((known for start, known in names.items() if name.startswith(start)), "")
