"""Which hardware spec a device is, by the name that its driver gives it."""

import re
from collections.abc import Sequence

from pdplan.errors import Problem, SpecError

DEVICES = {
    "NVIDIA A10": "a10",
    "NVIDIA A10G": "a10g",
    "NVIDIA A40": "a40",
    "NVIDIA A100-PCIE-40GB": "a100-40gb-pcie",
    "NVIDIA A100-SXM4-40GB": "a100-40gb-sxm",
    "NVIDIA A100 80GB PCIe": "a100-80gb-pcie",
    "NVIDIA A100-SXM4-80GB": "a100-80gb-sxm",
    "NVIDIA B100": "b100",
    "NVIDIA B200": "b200-sxm",
    "NVIDIA B300 SXM6 AC": "b300-sxm",
    "NVIDIA GB200": "gb200",
    "NVIDIA GB300": "gb300",
    "NVIDIA GH200 144G HBM3e": "gh200-144gb",
    "NVIDIA GH200 480GB": "gh200",
    "NVIDIA H20": "h20",
    "NVIDIA H100 80GB HBM3": "h100-sxm",
    "NVIDIA H100 NVL": "h100-nvl",
    "NVIDIA H100 PCIe": "h100-pcie",
    "NVIDIA H200": "h200-sxm",
    "NVIDIA H800": "h800",
    "NVIDIA L4": "l4",
    "NVIDIA L40S": "l40s",
    "NVIDIA GeForce RTX 3090": "rtx-3090",
    "NVIDIA GeForce RTX 4090": "rtx-4090",
    "NVIDIA GeForce RTX 5090": "rtx-5090",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "rtx-pro-6000-server",
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "rtx-pro-6000",
    "Tesla T4": "t4",
    "Tesla V100-SXM2-32GB": "v100-32gb",
    "AMD Instinct MI250X": "mi250x",
    "AMD Instinct MI300X": "mi300x",
    "AMD Instinct MI325X": "mi325x",
    "AMD Instinct MI355X": "mi355x",
}
"""As `torch.cuda.get_device_name` says it; a slice of a device (MIG) has a longer name."""
MOST_NEAR = 4


def hardware_of(device: str, known: Sequence[str]) -> str:
    """Id of a device's spec; raises SpecError with ids that are near.

    >>> hardware_of("NVIDIA H100 80GB HBM3", [])
    'h100-sxm'
    """
    found = DEVICES.get(device.strip())
    if found is not None:
        return found
    near = _near(device, known)
    hint = f"; near: {', '.join(near)}" if near else ""
    message = f"no hardware spec is known to be a '{device}'{hint}; name it with --hardware ID"
    raise SpecError(Problem("command line", None, "--measure", message))


def _near(device: str, known: Sequence[str]) -> list[str]:
    """Ids that share the model's word with a name, else any word.

    >>> _near("NVIDIA H200 NVL", ["h100-nvl", "h200-sxm", "l4", "v100-32gb"])
    ['h200-sxm']
    >>> _near("NVIDIA GeForce RTX 4070", ["l4", "rtx-4090"])
    ['rtx-4090']
    """
    words = set(re.split(r"[^a-z0-9]+", device.lower()))
    models = {word for word in words if re.fullmatch(r"[a-z]+\d+[a-z]*", word)}
    shared = {name: words & set(name.split("-")) for name in known}
    near = [name for name in known if shared[name] & models]
    near = near or [name for name in known if shared[name]]
    return sorted(near, key=lambda name: (-len(shared[name]), name))[:MOST_NEAR]
