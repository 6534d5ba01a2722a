"""A prefix cache of blocks, through which hashed prompts are replayed."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence


class PrefixCache:
    """Least-recently-used cache of blocks; `blocks` None never forgets.

    A prompt finds its leading blocks up to the first that is not there. All of its blocks are
    then the most recent, the first of them most of all, so that a prefix outlives what follows it.

    >>> cache = PrefixCache(blocks=3)
    >>> cache.replay(["a", "b", "c"]), cache.replay(["a", "b", "d"]), cache.replay(["a", "b", "c"])
    (0, 2, 2)
    """

    def __init__(self, blocks: int | None = None) -> None:
        self._most = blocks
        self._held: OrderedDict[Hashable, None] = OrderedDict()

    def replay(self, hashes: Sequence[Hashable]) -> int:
        """Blocks of a prompt that are found; all of them are kept afterwards."""
        held = self._held
        found = next((i for i, key in enumerate(hashes) if key not in held), len(hashes))
        if self._most is None:
            held.update(dict.fromkeys(hashes[found:]))
            return found
        for key in reversed(hashes):
            held[key] = None
            held.move_to_end(key)
        while len(held) > self._most:
            held.popitem(last=False)
        return found
