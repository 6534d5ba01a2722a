"""A recorded trace as arrivals: read as it is needed, timed in blocks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pdplan.errors import Problem, SpecError
from pdplan.simulation.arrivals import Arrival
from pdplan.simulation.build import Kind, Serving, prompts
from pdplan.simulation.request import Prompt
from pdplan.specs.model import ModelSpec
from pdplan.specs.trace_formats import Reading, TraceRequest, read_requests
from pdplan.specs.traffic import Traffic
from pdplan.stages.encode import MediaWork, TowerWork, media_work

Floats = NDArray[np.float64]
BLOCK = 1024
Reader = Callable[[Path, Reading], Iterator[TraceRequest]]


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """Where requests of some classes go."""

    kinds: tuple[Kind, ...]
    serving: Serving
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Requests of a trace under the objectives and image sizes of a workload.

    A request with images takes their size from the workload's, with its weights. Where there are
    several classes it belongs to that of the support point nearest to it in the logarithms of
    prompt and answer, among those with images if it has some.
    """

    lanes: tuple[Lane, ...]
    model: ModelSpec
    traffic: Traffic
    seed: int

    def of(self, trace: Path, read: Reader = read_requests) -> Iterator[Arrival]:
        """Requests in the order of arrival; raises SpecError for what cannot be replayed."""
        rng = np.random.default_rng([self.seed, 3])
        sizes, weight = self._sizes()
        reading = Reading(image_tokens=self._image_tokens(sizes, weight))
        requests = read(trace, reading)
        while block := list(islice(requests, BLOCK)):
            if any(r.images for r in block) and not len(sizes):
                message = "has images; the workload says nothing of their size"
                raise SpecError(Problem(str(trace), None, "images", message))
            drawn = rng.choice(len(sizes), len(block), p=weight) if len(sizes) else None
            size = np.zeros((len(block), 2)) if drawn is None else sizes[drawn]
            for request, prompt in zip(block, self._prompts(block, size), strict=True):
                yield request.arrival_s, prompt, max(round(request.output_tokens), 1)

    def _sizes(self) -> tuple[Floats, Floats]:
        """Sizes of the workload's images and their weights."""
        seen = self.traffic.images > 0
        pairs = np.column_stack([self.traffic.image_width, self.traffic.image_height])[seen]
        if not len(pairs):
            return np.zeros((0, 2)), np.zeros(0)
        found, where = np.unique(pairs, axis=0, return_inverse=True)
        weight = np.bincount(where.ravel(), self.traffic.weight[seen])
        return found, weight / weight.sum()

    def _image_tokens(self, sizes: Floats, weight: Floats) -> int:
        """Mean tokens of one image of the workload."""
        if not len(sizes):
            return 0
        tokens = self._media(np.ones(len(sizes)), sizes).llm_tokens
        return round(float(tokens @ weight))

    def _media(self, images: Floats, size: Floats) -> MediaWork:
        """Work of so many images of a size; each combination is worked out once."""
        wanted = np.column_stack([images, size * (images > 0)[:, None]])
        found, where = np.unique(wanted, axis=0, return_inverse=True)
        nothing = np.zeros(len(found))
        work = media_work(
            self.model,
            replace(
                self.traffic,
                weight=np.full(len(found), 1 / len(found)),
                to_encode=np.ones(len(found)),
                images=found[:, 0],
                image_width=found[:, 1],
                image_height=found[:, 2],
                audio_s=nothing,
                video_frames=nothing.copy(),
                video_width=nothing.copy(),
                video_height=nothing.copy(),
            ),
        )
        return _taken(work, where.ravel())

    def _prompts(self, block: Sequence[TraceRequest], size: Floats) -> list[Prompt]:
        """Prompts of a block, each as the pools of its lane meet it."""
        images = np.array([r.images for r in block], float)
        media = self._media(images, size)
        text = np.array([r.prompt_tokens for r in block], float)
        tokens = text + media.llm_tokens + self.model.soft_prompt_tokens
        tokens = np.minimum(tokens, float(self.model.max_position))
        cached = np.array([r.cached_tokens or 0.0 for r in block])
        new = np.maximum(tokens - cached, 1.0)
        osl = np.array([r.output_tokens for r in block], float)
        kinds = self._classes(text, osl, images > 0)
        found: list[Prompt | None] = [None] * len(block)
        for lane in self.lanes:
            rows = np.flatnonzero(np.isin(kinds, lane.classes))
            if len(rows):
                made = prompts(
                    lane.kinds,
                    lane.serving,
                    tokens=tokens[rows],
                    new_tokens=new[rows],
                    media=_taken(media, rows),
                    request_class=kinds[rows],
                    images=images[rows],
                )
                for i, prompt in zip(rows.tolist(), made, strict=True):
                    found[i] = prompt
        return [prompt for prompt in found if prompt is not None]

    def _classes(self, text: Floats, osl: Floats, pictured: NDArray[np.bool_]) -> NDArray[np.int_]:
        """Class of each request."""
        traffic = self.traffic
        if len(traffic.classes) == 1:
            return np.zeros(len(text), int)
        answers = (traffic.output_weight * traffic.output_tokens).sum(1)
        x = np.log(np.maximum(np.column_stack([text, osl]), 1.0))
        y = np.log(np.maximum(np.column_stack([traffic.text_tokens, answers]), 1.0))
        away = ((x[:, None] - y[None]) ** 2).sum(-1)
        unlike = pictured[:, None] != (traffic.images > 0)[None]
        far = away + np.where(unlike, 1e9, 0.0)
        return np.asarray(traffic.class_index[far.argmin(1)], int)


def _taken(work: MediaWork, where: NDArray[np.intp]) -> MediaWork:
    """Rows of media work, repeated as asked."""
    return MediaWork(
        llm_tokens=work.llm_tokens[where],
        cross_tokens=work.cross_tokens[where],
        items=work.items[where],
        megapixels=work.megapixels[where],
        frames=work.frames[where],
        pieces=work.pieces[where],
        vision=_rows(work.vision, where),
        audio=_rows(work.audio, where),
    )


def _rows(work: TowerWork, where: NDArray[np.intp]) -> TowerWork:
    return TowerWork(
        work.positions[where],
        work.segment_pairs[where],
        work.window_pairs[where],
        work.projected[where],
    )
