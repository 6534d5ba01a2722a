"""How image preprocessors cut an image: grids (columns, rows) from a width and a height [px].

Each function follows the released preprocessor of its family; sizes are at least 1 px.
"""

from functools import cache
from math import ceil, floor, log, sqrt

Grid = tuple[int, int]


def native_grid(
    width: int, height: int, *, factor: int, min_pixels: float, max_pixels: float
) -> Grid:
    """Tokens per side of an image whose sides are rounded to multiples of `factor`.

    Too large or small an image is scaled, in shape, to the nearest allowed area.

    Source: `smart_resize` of qwen-vl-utils; Qwen2-VL report, arXiv 2409.12191, section 2.1.

    >>> native_grid(1920, 1080, factor=28, min_pixels=3136, max_pixels=12_845_056)
    (69, 39)
    """
    columns, rows = max(1, round(width / factor)), max(1, round(height / factor))
    area = columns * rows * factor**2
    if area > max_pixels:
        shrink = sqrt(width * height / max_pixels)
        columns = max(1, floor(width / shrink / factor))
        rows = max(1, floor(height / shrink / factor))
    elif area < min_pixels:
        grow = sqrt(min_pixels / (width * height))
        columns, rows = ceil(width * grow / factor), ceil(height * grow / factor)
    return columns, rows


def row_grid(width: int, height: int, *, patch: int, max_side: int) -> Grid:
    """Patches per side of an image that is shrunk to a longest side.

    Source: image processor of Pixtral in transformers; Pixtral 12B, arXiv 2410.07073.

    >>> row_grid(1920, 1080, patch=16, max_side=1024)
    (64, 36)
    """
    shrink = max(width / max_side, height / max_side, 1.0)
    columns, rows = ceil(floor(width / shrink) / patch), ceil(floor(height / shrink) / patch)
    return max(1, columns), max(1, rows)


@cache
def _grids(most: int) -> tuple[Grid, ...]:
    """Every grid of up to `most` tiles, fewest tiles first."""
    sides = range(1, most + 1)
    every = ((columns, rows) for columns in sides for rows in sides if columns * rows <= most)
    return tuple(sorted(every, key=lambda grid: grid[0] * grid[1]))


def aspect_grid(width: int, height: int, *, tile: int, max_tiles: int) -> Grid:
    """Grid whose aspect ratio is nearest to the image's.

    Of equal ratios the larger grid wins where the image fills more than half of it.

    Source: `dynamic_preprocess` of InternVL; InternVL 1.5, arXiv 2404.16821, section 3.2.

    >>> aspect_grid(640, 480, tile=448, max_tiles=12)
    (4, 3)
    """
    best, nearest = (1, 1), float("inf")
    for grid in _grids(max_tiles):
        columns, rows = grid
        distance = abs(width / height - columns / rows)
        full = width * height > 0.5 * tile**2 * columns * rows
        if distance < nearest or (distance == nearest and full):
            best, nearest = grid, distance
    return best


def slice_grid(width: int, height: int, *, tile: int, max_tiles: int) -> Grid:
    """Grid of about as many slices as the area fills, nearest in log aspect ratio.

    Source: `get_sliced_grid` of MiniCPM-V 2.6; MiniCPM-V, arXiv 2408.01800, section 3.2.

    >>> slice_grid(1344, 1344, tile=448, max_tiles=9)
    (3, 3)
    """
    wanted = min(ceil(width * height / tile**2), max_tiles)
    if wanted <= 1:
        return 1, 1
    numbers = [n for n in (wanted - 1, wanted, wanted + 1) if 1 < n <= max_tiles]
    grids = [(m, n // m) for n in numbers for m in range(1, n + 1) if n % m == 0]
    aspect = log(width / height)
    return min(grids, key=lambda grid: abs(aspect - log(grid[0] / grid[1])))


def canvas_grid(width: int, height: int, *, tile: int, max_tiles: int) -> Grid:
    """Grid whose canvas holds the image with the least enlargement, else the least shrinking.

    Of equal scales the smaller canvas wins.

    Source: `get_best_fit` of the Llama 4 image processor in transformers.

    >>> canvas_grid(1000, 600, tile=336, max_tiles=16)
    (3, 2)
    """

    def scale(grid: Grid) -> float:
        return min(grid[0] * tile / width, grid[1] * tile / height)

    def badness(grid: Grid) -> tuple[bool, float, int]:
        fit = scale(grid)
        return fit < 1, fit if fit >= 1 else -fit, grid[0] * grid[1]

    return min(_grids(max_tiles), key=badness)


def anyres_grid(width: int, height: int, *, tile: int, max_side_tiles: int) -> Grid:
    """Grid that keeps most of the image's pixels and, of those, wastes the fewest.

    Source: `select_best_resolution` of LLaVA-NeXT; LLaVA-OneVision, arXiv 2408.03326.

    >>> anyres_grid(1280, 720, tile=384, max_side_tiles=6)
    (4, 2)
    """
    sides = range(1, max_side_tiles + 1)
    best, most, least = (1, 1), -1, 0
    for grid in ((columns, rows) for columns in sides for rows in sides):
        across, down = grid[0] * tile, grid[1] * tile
        scale = min(across / width, down / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        waste = across * down - kept
        if kept > most or (kept == most and waste < least):
            best, most, least = grid, kept, waste
    return best


def anyres_tokens(width: int, height: int, grid: Grid, *, side_tokens: int, max_tiles: int) -> int:
    """Tokens of the tiles without their padding, one line end per row, pooled beyond a limit.

    Source: `_get_unpadded_features` of LLaVA-OneVision in transformers.

    >>> anyres_tokens(1024, 1024, (3, 3), side_tokens=27, max_tiles=9)
    6642
    """
    columns, rows = grid[0] * side_tokens, grid[1] * side_tokens
    if width / height > columns / rows:
        rows -= (rows - int(round(height * (columns / width), 7))) // 2 * 2
    else:
        columns -= (columns - int(round(width * (rows / height), 7))) // 2 * 2
    pool = sqrt(columns * rows / (max_tiles * side_tokens**2))
    if pool > 1.1:
        columns, rows = int(columns // pool), int(rows // pool)
    return columns * rows + rows


def crop_grid(width: int, height: int, *, tile: int, max_tiles: int) -> Grid:
    """Largest grid in the image's shape that has at most `max_tiles` crops.

    Source: `HD_transform` of Phi-3.5-vision; Phi-3 report, arXiv 2404.14219, section 7.

    >>> crop_grid(1280, 720, tile=336, max_tiles=16)
    (5, 3)
    """
    ratio = max(width, height) / min(width, height)
    long = 1
    while (long + 1) * ceil((long + 1) / ratio) <= max_tiles:
        long += 1
    short = max(1, ceil(int(long * tile / ratio) / tile))
    return (long, short) if width >= height else (short, long)
