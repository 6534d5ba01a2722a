"""Media found encoded already."""

from typing import Annotated

from pydantic import Field

from pdplan.specs.base import Spec


class EncodeCache(Spec):
    """Encoded media kept by their hash, beside the prefix cache.

    Media that are found there are neither prepared nor encoded; their embeddings still go to
    prefill, and their tokens are prefilled and cached as all others are.
    """

    hit: Annotated[float, Field(ge=0, lt=1, strict=True)]
    """Share of images, clips and videos that is found, each independently of the others."""
