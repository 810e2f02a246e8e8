"""Memory that is used again: a fresh page costs more than the pixel that is written to it.

The kernel clears every page of a new large array at its first touch. For decoded clips that takes
as long as decoding itself, so pipelines draw their arrays from a pool.
"""

import math
import threading
import weakref
from collections.abc import Sequence

import numpy as np


class BufferPool:
    """Lends uint8 arrays, and lends their memory again once nothing refers to it.

    Each array is a view of a lease: a small array over a block of the pool, which numpy keeps alive
    as long as any view of it, memoryview or jax array lives. When the lease is gone, its finalizer
    returns the block. Safe among threads; a pickled pool arrives empty.
    """

    def __init__(self, limit: int = 1 << 30):
        """Makes an empty pool that keeps at most `limit` bytes; arrays beyond are ordinary ones."""
        self._limit = limit
        self._kept = 0  # bytes, lent or idle
        self._idle: list[np.ndarray] = []
        self._lock = threading.Lock()

    def empty(self, shape: Sequence[int]) -> np.ndarray:
        """Returns an uninitialised uint8 array [*shape]."""
        size = math.prod(shape)
        # Rounded up by at most an eighth, so that arrays of similar size share blocks.
        step = max(4096, 1 << max(0, size.bit_length() - 4))
        with self._lock:
            block = self._take(-(-size // step) * step)
        if block is None:
            return np.empty(shape, np.uint8)
        # Over a memoryview, at which numpy ends the chain of bases: views refer to the lease. Over
        # the block itself they would refer to the block.
        lease = np.frombuffer(block.data, np.uint8, count=size)
        # Without the lock: a finalizer may run while this thread holds it. Appending is atomic.
        weakref.finalize(lease, self._idle.append, block).atexit = False
        return lease.reshape(shape)

    def _take(self, capacity: int) -> np.ndarray | None:
        """Returns an idle or a new block; None where the limit leaves no room for one."""
        for i, block in enumerate(self._idle):
            if block.nbytes == capacity:
                return self._idle.pop(i)
        if self._kept + capacity > self._limit:
            while self._idle:
                self._kept -= self._idle.pop().nbytes
        if self._kept + capacity > self._limit:
            return None
        self._kept += capacity
        return np.empty(capacity, np.uint8)

    def __reduce__(self) -> tuple:
        return BufferPool, (self._limit,)
