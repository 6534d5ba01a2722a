"""The rules by which images become patches of an encoder and tokens of a decoder."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from pydantic import Field

from pdplan.specs import tiling
from pdplan.specs.base import Count, Pixels, Spec


@dataclass(frozen=True, slots=True)
class EncoderWork:
    """What one image, video or audio clip costs its encoder and its decoder."""

    llm_tokens: int
    """Tokens in the decoder's sequence."""
    positions: int
    """Patches or frames that the tower encodes, all tiles and padding."""
    segment: int
    """Positions that see each other in full-attention layers: of a tile, an image, a chunk."""
    window: int
    """Positions that see each other in windowed layers; the segment where there are none."""
    cross_tokens: int = 0
    """Tokens that cross-attention layers read; they are not in the sequence."""
    projector_positions: int = 0
    """Positions that the projector runs on."""

    @property
    def tiles(self) -> int:
        """Parts that do not see each other, so that they can be encoded apart."""
        return self.positions // self.segment

    @classmethod
    def of_tiles(
        cls, tiles: int, tokens: int, positions: int, *, llm_tokens: int | None = None
    ) -> Self:
        """Work of tiles that do not see each other, each with its tokens and positions."""
        emitted = tiles * tokens if llm_tokens is None else llm_tokens
        return cls(emitted, tiles * positions, positions, positions)

    def with_tower(self, *, window: int | None, merge: int) -> "EncoderWork":
        """Add what depends on the tower: its attention window, its merging of positions."""
        return replace(
            self,
            window=min(window or self.segment, self.segment),
            projector_positions=self.tiles * max(self.segment // merge, 1),
        )


class Fixed(Spec):
    """Every image is resized to one square (LLaVA-1.5, Gemma-3)."""

    rule: Literal["fixed"]
    tokens: Count
    positions: Count

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        return EncoderWork.of_tiles(1, self.tokens, self.positions)


class Native(Spec):
    """The image keeps its shape; sides are rounded to whole tokens (Qwen-VL)."""

    rule: Literal["native"]
    factor: Count
    """Pixels per token along a side."""
    min_pixels: Pixels
    max_pixels: Pixels

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        columns, rows = tiling.native_grid(
            width,
            height,
            factor=self.factor,
            min_pixels=self.min_pixels,
            max_pixels=self.max_pixels,
        )
        tokens = columns * rows
        return EncoderWork.of_tiles(1, tokens, tokens * (self.factor // patch) ** 2)


class Rows(Spec):
    """The image keeps its shape up to a longest side; every row ends in a token (Pixtral)."""

    rule: Literal["rows"]
    max_side: Count

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        columns, rows = tiling.row_grid(width, height, patch=patch, max_side=self.max_side)
        return EncoderWork.of_tiles(1, rows * (columns + 1), rows * columns)


class AspectTiles(Spec):
    """The grid of tiles nearest to the image's shape, small images included (InternVL, NVLM)."""

    rule: Literal["aspect_tiles"]
    tile: Count
    max_tiles: Count
    thumbnail: bool = True
    """One more tile shows the whole image where there are several."""
    tokens_per_tile: Count
    positions_per_tile: Count

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        columns, rows = tiling.aspect_grid(width, height, tile=self.tile, max_tiles=self.max_tiles)
        tiles = columns * rows
        tiles += self.thumbnail and tiles > 1
        return EncoderWork.of_tiles(tiles, self.tokens_per_tile, self.positions_per_tile)


class Slices(Spec):
    """As many slices as the area needs, and an overview (MiniCPM-V)."""

    rule: Literal["slices"]
    tile: Count
    max_tiles: Count
    tokens_per_tile: Count
    positions_per_tile: Count

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        columns, rows = tiling.slice_grid(width, height, tile=self.tile, max_tiles=self.max_tiles)
        tiles = columns * rows
        tiles += tiles > 1
        return EncoderWork.of_tiles(tiles, self.tokens_per_tile, self.positions_per_tile)


class Canvas(Spec):
    """A padded canvas of tiles, read by cross-attention (Llama 3.2 Vision)."""

    rule: Literal["canvas"]
    tokens: Count
    cross_tokens: Count

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        work = EncoderWork.of_tiles(1, self.tokens, self.cross_tokens)
        return replace(work, cross_tokens=self.cross_tokens)


class RatioTiles(Spec):
    """The canvas that needs the least scaling, and the whole image (Llama 4)."""

    rule: Literal["ratio_tiles"]
    tile: Count
    max_tiles: Count
    tokens_per_tile: Count
    positions_per_tile: Count

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        columns, rows = tiling.canvas_grid(width, height, tile=self.tile, max_tiles=self.max_tiles)
        tiles = columns * rows
        tiles += tiles > 1
        return EncoderWork.of_tiles(tiles, self.tokens_per_tile, self.positions_per_tile)


class AnyRes(Spec):
    """The best of fixed canvases, unpadded, pooled beyond a limit (LLaVA-OneVision)."""

    rule: Literal["anyres"]
    tile: Count
    max_side_tiles: Count
    """Canvases go up to this many tiles along a side."""
    max_tiles: Count
    """Tokens beyond those of this many tiles are pooled away."""
    side_tokens: Count
    """Tokens (and patches) of a tile along a side."""

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        columns, rows = tiling.anyres_grid(
            width, height, tile=self.tile, max_side_tiles=self.max_side_tiles
        )
        tokens = tiling.anyres_tokens(
            width,
            height,
            (columns, rows),
            side_tokens=self.side_tokens,
            max_tiles=self.max_tiles,
        )
        whole = self.side_tokens**2
        tiles = columns * rows + 1
        return EncoderWork.of_tiles(tiles, 0, whole, llm_tokens=whole + tokens)


class HdCrops(Spec):
    """As many crops as allowed in the image's shape, and the whole image (Phi-3.5-vision)."""

    rule: Literal["hd_crops"]
    tile: Count
    max_tiles: Count
    max_tiles_of_many: Count
    """Where a request has several images."""
    tokens_per_tile: Count
    positions_per_tile: Count
    row_tokens: Count
    """Line ends per row of tiles."""

    def work(self, width: int, height: int, images: int, *, patch: int) -> EncoderWork:
        """Work of one image."""
        most = self.max_tiles if images == 1 else min(self.max_tiles, self.max_tiles_of_many)
        columns, rows = tiling.crop_grid(width, height, tile=self.tile, max_tiles=most)
        tiles = columns * rows + 1
        tokens = tiles * self.tokens_per_tile + 1 + (rows + 1) * self.row_tokens
        return EncoderWork.of_tiles(tiles, 0, self.positions_per_tile, llm_tokens=tokens)


ImageTokens = Annotated[
    Fixed | Native | Rows | AspectTiles | Slices | Canvas | RatioTiles | AnyRes | HdCrops,
    Field(discriminator="rule"),
]
