import numpy as np
import pytest
import small_dataset

from mpjax.data import clips, pipeline, records
from mpjax.data.clips import Views
from mpjax.data.pipeline import Workers

VIEWS = Views(size=32, frames=4, clips=2, crops=3)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return records.RecordSource(small_dataset.write(tmp_path_factory.mktemp("data") / "dataset"))


def train(source, *, workers=Workers(threads=2), seed=1, **options):
    options = {"batch_size": 4, "size": 16, "frames": 3, "seed": seed, "epochs": 2} | options
    return pipeline.train_batches(source, workers=workers, **options)


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name])


def test_an_epoch_visits_every_record_once_and_the_next_in_another_order(source):
    positions = np.concatenate([b["position"] for b in train(source, batch_size=1)])
    first, second = positions[: len(source)], positions[len(source) :]
    assert sorted(first) == sorted(second) == list(range(len(source)))
    assert first.tolist() != second.tolist()


def test_training_batches_carry_their_own_labels(source):
    for batch in train(source):
        assert batch["clips"].shape == (4, 3, 16, 16, 3)
        expected = source.index["label"].to_numpy()[batch["position"]]
        np.testing.assert_array_equal(batch["label"], expected)
        # The clip shows its number in its brightness; time adds 20 per frame.
        numbers = (batch["clips"][:, 0, 8, 8, 0].astype(int) % 20) // 5
        clip_number = source.index["clip_id"].str[-8:].astype(int).to_numpy()[batch["position"]]
        np.testing.assert_allclose(numbers, clip_number % 4, atol=1)


@pytest.mark.parametrize("workers", [Workers(threads=1), Workers(threads=4), Workers(processes=2)])
def test_batches_are_the_same_for_any_workers(source, workers):
    assert_same(list(train(source)), list(train(source, workers=workers)))
    whole = list(pipeline.eval_batches(source, batch_size=5, views=VIEWS))
    assert_same(
        whole, list(pipeline.eval_batches(source, batch_size=5, workers=workers, views=VIEWS))
    )


def test_the_seed_changes_order_and_augmentation(source):
    one, two = next(iter(train(source))), next(iter(train(source, seed=2)))
    assert one["position"].tolist() != two["position"].tolist()
    assert not np.array_equal(one["clips"], two["clips"])


@pytest.mark.parametrize("workers", [Workers(threads=2), Workers(processes=2)])
def test_a_restored_iterator_goes_on_exactly(source, workers):
    iterator = iter(train(source, workers=workers))
    next(iterator)
    state = iterator.get_state()
    expected = list(iterator)
    resumed = iter(train(source, workers=workers))
    resumed.set_state(state)
    assert expected
    assert_same(expected, list(resumed))


def test_evaluation_gives_every_view_of_every_record_exactly_once(source):
    batches = list(pipeline.eval_batches(source, batch_size=5, views=VIEWS))
    assert all(batch["clips"].shape == (5, 4, 32, 32, 3) for batch in batches)
    mask = np.concatenate([batch["mask"] for batch in batches])
    position = np.concatenate([batch["position"] for batch in batches])[mask]
    view = np.concatenate([batch["view"] for batch in batches])[mask]
    expected = [(p, v) for p in range(len(source)) for v in range(6)]
    assert list(zip(position, view, strict=True)) == expected


def test_evaluation_can_start_in_the_middle(source):
    whole = list(pipeline.eval_batches(source, batch_size=6, views=VIEWS))
    middle = pipeline.eval_batches(source, batch_size=6, views=VIEWS, start=3)
    assert_same(whole[3:], list(middle))
    end = pipeline.eval_batches(source, batch_size=6, views=VIEWS, start=len(whole))
    assert list(end) == []


@pytest.mark.parametrize("views", [VIEWS, Views(size=24, crops=2), Views(size=32)])
def test_views_in_batches_are_those_of_the_clip(source, views):
    for batch in pipeline.eval_batches(source, batch_size=5, views=views):
        for i in np.flatnonzero(batch["mask"]):
            example = records.decode_example(source[batch["position"][i]])
            cut = views.cut(clips.decode_frames(example["frames"]))
            np.testing.assert_array_equal(batch["clips"][i], cut[batch["view"][i]])


def test_recordings_of_different_shape_share_batches(tmp_path):
    def encode(i):
        height, width = [(32, 32), (32, 64), (64, 32)][i % 3]
        return small_dataset.encode_frames(small_dataset.frames(i, height=height, width=width))

    def shape(i):
        return {"frames": 6} | dict(
            zip(("height", "width"), [(32, 32), (32, 64), (64, 32)][i % 3], strict=True)
        )

    directory = small_dataset.write(tmp_path / "mixed", 6, encode=encode, shape=shape)
    source = records.RecordSource(directory)
    views = Views(size=32, crops=3)
    batches = list(pipeline.eval_batches(source, batch_size=4, views=views))
    position = np.concatenate([batch["position"][batch["mask"]] for batch in batches])
    expected = [1 if row.height == row.width else 3 for row in source.index.itertuples()]
    assert np.bincount(position).tolist() == expected
    for batch in batches:
        for i in np.flatnonzero(batch["mask"]):
            example = records.decode_example(source[batch["position"][i]])
            cut = views.cut(clips.decode_frames(example["frames"]))
            np.testing.assert_array_equal(batch["clips"][i], cut[batch["view"][i]])


def test_a_batch_larger_than_the_dataset_is_refused(source):
    with pytest.raises(ValueError, match="11 records do not fill a batch of 12"):
        train(source, batch_size=12)
