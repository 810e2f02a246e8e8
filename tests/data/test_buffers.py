import pickle

import numpy as np
import pytest

from mpjax.data.buffers import BufferPool


def test_memory_is_used_again_once_nothing_refers_to_it():
    pool = BufferPool()
    first = pool.empty((4, 1000))
    address = first.ctypes.data
    del first
    assert pool.empty((1000, 4)).ctypes.data == address


@pytest.mark.parametrize(
    "keep", [lambda a: a, lambda a: a[1:, 3], lambda a: memoryview(a)[1:], lambda a: [a.T]]
)
def test_whatever_refers_to_an_array_keeps_its_memory(keep):
    pool = BufferPool()
    array = pool.empty((8, 512))
    array[:] = 7
    kept = keep(array)
    del array
    others = [pool.empty((8, 512)) for _ in range(4)]
    for other in others:
        other[:] = 9
    values = np.asarray(kept[0] if isinstance(kept, list) else kept)
    assert (values == 7).all()


def test_jax_arrays_keep_what_they_may_alias():
    import jax.numpy as jnp

    pool = BufferPool()
    array = pool.empty((64, 4096))
    array[:] = 7
    device = jnp.asarray(array)
    del array
    for _ in range(3):
        pool.empty((64, 4096))[:] = 9
    assert (np.asarray(device) == 7).all()


def test_arrays_beyond_the_limit_are_not_kept():
    pool = BufferPool(limit=10_000)
    big = pool.empty((100_000,))
    small = pool.empty((8_000,))
    assert big.nbytes == 100_000
    del big, small
    pool.empty((9_000,))
    assert sum(block.nbytes for block in pool._blocks) <= 10_000


def test_a_pickled_pool_arrives_empty():
    pool = BufferPool(limit=123_456)
    pool.empty((5000,))
    copy = pickle.loads(pickle.dumps(pool))
    assert copy._blocks == []
    assert copy._limit == 123_456


def test_stack_equals_numpy():
    arrays = [np.full((3, 5), i, np.uint8) for i in range(4)]
    np.testing.assert_array_equal(BufferPool().stack(arrays), np.stack(arrays))
