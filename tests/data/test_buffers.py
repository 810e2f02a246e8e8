import pickle
import threading

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


def test_no_memory_is_lent_twice_however_many_arrays_are_held_and_released():
    rng = np.random.default_rng(0)
    pool, held = BufferPool(limit=1 << 16), {}
    for step in range(400):
        array = pool.empty((1, int(rng.integers(1, 6000))))
        array[:] = step % 251
        held[step] = array[0, ::2] if step % 2 else array
        del array
        for old in [k for k in held if rng.random() < 0.3]:
            assert (np.asarray(held.pop(old)) == old % 251).all()
    assert 0 < pool._kept <= 1 << 16


def test_threads_share_a_pool():
    pool, wrong = BufferPool(), []

    def work(value):
        for _ in range(300):
            array = pool.empty((3, 2000))
            array[:] = value
            kept = array[1:]
            del array
            pool.empty((3, 2000))[:] = 255
            wrong.extend(kept[kept != value].tolist())

    threads = [threading.Thread(target=work, args=(value,)) for value in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(pool._idle) <= 12  # two blocks a thread


def test_arrays_beyond_the_limit_are_not_kept():
    pool = BufferPool(limit=10_000)
    big = pool.empty((100_000,))
    small = pool.empty((8_000,))
    assert big.nbytes == 100_000
    del big, small
    pool.empty((9_000,))
    assert sum(block.nbytes for block in pool._idle) == pool._kept <= 10_000


def test_a_pickled_pool_arrives_empty():
    pool = BufferPool(limit=123_456)
    pool.empty((5000,))
    copy = pickle.loads(pickle.dumps(pool))
    assert copy._idle == []
    assert copy._kept == 0
    assert copy._limit == 123_456
