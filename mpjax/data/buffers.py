"""Memory used again: a fresh page costs more than the pixel that is written to it.

The kernel clears every page of a new large array at its first touch. For decoded clips that takes
as long as decoding itself, so pipelines draw their arrays from a pool.
"""

import math
import sys
import threading
from collections.abc import Sequence

import numpy as np

# Held by the list, by the loop variable and by the argument of getrefcount.
_IDLE_REFERENCES = 3


def _capacity(size: int) -> int:
    """Rounds up by at most an eighth, so that arrays of similar size share blocks."""
    step = max(4096, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


class BufferPool:
    """Gives out uint8 arrays, and again their memory once nothing refers to it any more.

    A block is idle when its reference count says that neither an array nor a view of it lives:
    whoever keeps an array, jax included, keeps its block. Safe among threads; a pickled pool
    arrives empty.
    """

    def __init__(self, limit: int = 1 << 30):
        """Makes an empty pool.

        Args:
            limit: bytes kept at most; arrays beyond it are ordinary ones.
        """
        self._limit = limit
        self._blocks: list[np.ndarray] = []
        self._lock = threading.Lock()

    def empty(self, shape: Sequence[int]) -> np.ndarray:
        """Returns an uninitialised uint8 array [*shape]."""
        size = math.prod(shape)
        capacity = _capacity(size)
        with self._lock:
            for block in self._blocks:
                if block.nbytes == capacity and sys.getrefcount(block) == _IDLE_REFERENCES:
                    return block[:size].reshape(shape)
            return self._new(capacity)[:size].reshape(shape)

    def stack(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Returns `np.stack` of uint8 arrays of one shape, in memory of the pool."""
        out = self.empty((len(arrays), *arrays[0].shape))
        return np.stack(arrays, out=out)

    def _new(self, size: int) -> np.ndarray:
        block = np.empty(size, np.uint8)
        kept = sum(block.nbytes for block in self._blocks)
        if kept + size > self._limit:
            kept -= self._drop_idle()
        if kept + size <= self._limit:
            self._blocks.append(block)
        return block

    def _drop_idle(self) -> int:
        busy = [block for block in self._blocks if sys.getrefcount(block) > _IDLE_REFERENCES]
        dropped = sum(block.nbytes for block in self._blocks) - sum(b.nbytes for b in busy)
        self._blocks = busy
        return dropped

    def __reduce__(self) -> tuple:
        return BufferPool, (self._limit,)
