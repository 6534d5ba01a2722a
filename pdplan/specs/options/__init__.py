"""What published systems add to a placement: each option acts in one place, never on results.

An option that is absent changes nothing.
"""

from typing import Any

from pdplan.specs.base import Spec
from pdplan.specs.options.attention_ffn import AttentionFfn
from pdplan.specs.options.device_draft import DeviceDraft
from pdplan.specs.options.embedding_transfer import EmbeddingTransfer
from pdplan.specs.options.encode_cache import EncodeCache
from pdplan.specs.options.gateway import Gateway
from pdplan.specs.options.grouping import Grouping
from pdplan.specs.options.handoff import Handoff
from pdplan.specs.options.kv_transfer import KvTransfer
from pdplan.specs.options.local_prefill import LocalPrefill
from pdplan.specs.options.measured import Measured
from pdplan.specs.options.media_engine import MediaEngine
from pdplan.specs.options.node_affinity import NodeAffinity
from pdplan.specs.options.prune import Prune
from pdplan.specs.options.sharing import Sharing

__all__ = ["NO_OPTIONS", "Options"]


class Options(Spec):
    """Options of a scenario or a plan; all of them may be combined where their stages allow it."""

    sharing: Sharing | None = None
    media_engine: MediaEngine | None = None
    attention_ffn: AttentionFfn | None = None
    local_prefill: LocalPrefill | None = None
    prune: Prune | None = None
    kv_transfer: KvTransfer | None = None
    embedding_transfer: EmbeddingTransfer | None = None
    node_affinity: NodeAffinity | None = None
    device_draft: DeviceDraft | None = None
    handoff: Handoff | None = None
    measured: Measured | None = None
    encode_cache: EncodeCache | None = None
    grouping: Grouping | None = None
    gateway: Gateway | None = None

    def text(self) -> dict[str, Any]:
        """Write what is given as the plain data of a YAML file; it reads back the same."""
        from pdplan.specs.options.writing import written

        return written(self)


NO_OPTIONS = Options()
