import numpy as np
import pytest
import small_dataset

from mpjax.data import clips, pipeline, records
from mpjax.data.clips import Views
from mpjax.data.pipeline import Part, Workers

VIEWS = Views(size=32, frames=4, clips=2, crops=3)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return records.RecordSource(small_dataset.write(tmp_path_factory.mktemp("data") / "dataset"))


def train(source, *, workers=Workers(threads=2), seed=1, **options):
    options = {"batch_size": 4, "size": 16, "frames": 3, "seed": seed, "epochs": 2} | options
    return pipeline.train_batches(source, workers=workers, **options)


class CountingSource(records.RecordSource):
    """Notes which records are read."""

    def __init__(self, directory):
        super().__init__(directory)
        self.read = []

    def __getitem__(self, position):
        self.read.append(int(position))
        return super().__getitem__(position)


def every_part(processes):
    return [Part((p,), processes) for p in range(processes)]


def join(parts):
    """Puts together what the processes read of each batch."""
    return [
        {name: np.concatenate([part[name] for part in batch]) for name in batch[0]}
        for batch in zip(*parts, strict=True)
    ]


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


def test_training_can_start_in_the_middle(source):
    batches = list(train(source))
    assert len(batches) > 2
    assert_same(batches[2:], list(train(source, start=2)))


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


@pytest.mark.parametrize(
    "views", [VIEWS, Views(size=24, crops=2), Views(size=32), Views(size=32, rotations=4)]
)
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


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("balanced", [False, True])
def test_training_parts_put_together_are_the_batches_of_one_process(source, processes, balanced):
    parts = [list(train(source, balanced=balanced, part=part)) for part in every_part(processes)]
    assert all(len(batch["clips"]) == 4 // processes for part in parts for batch in part)
    assert_same(list(train(source, balanced=balanced)), join(parts))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_evaluation_parts_put_together_are_the_batches_of_one_process(source, processes):
    def evaluate(part):
        return list(pipeline.eval_batches(source, batch_size=8, views=VIEWS, part=part))

    parts = [evaluate(part) for part in every_part(processes)]
    assert_same(evaluate(Part()), join(parts))
    # 66 views: in the last batch, some of four processes have nothing but filling.
    assert processes < 4 or not parts[-1][-1]["mask"].any()


def test_blocks_that_are_not_neighbours_are_read_in_their_order(source):
    whole = list(train(source, batch_size=8))
    for batch, part in zip(whole, train(source, batch_size=8, part=Part((1, 3), 4)), strict=True):
        for name in batch:
            np.testing.assert_array_equal(batch[name][[2, 3, 6, 7]], part[name])


def test_every_view_is_evaluated_once_over_all_processes(source):
    seen = []
    for part in every_part(4):
        for batch in pipeline.eval_batches(source, batch_size=8, views=VIEWS, part=part):
            seen += zip(batch["position"][batch["mask"]], batch["view"][batch["mask"]], strict=True)
    assert sorted(seen) == [(p, v) for p in range(len(source)) for v in range(6)]


def test_a_process_reads_no_record_of_another(tmp_path):
    directory = small_dataset.write(tmp_path / "dataset")
    for part in every_part(4):
        source = CountingSource(directory)
        batches = list(train(source, part=part, workers=Workers(threads=1)))
        assert sorted(source.read) == sorted(np.concatenate([b["position"] for b in batches]))
        source = CountingSource(directory)
        views = Views(size=32, frames=4)
        batches = list(pipeline.eval_batches(source, batch_size=8, views=views, part=part))
        mine = np.concatenate([batch["position"][batch["mask"]] for batch in batches])
        assert sorted(source.read) == sorted(mine)


def test_a_state_of_one_process_resumes_in_any_number_of_them(source):
    iterator = iter(train(source))
    next(iterator)
    state = iterator.get_state()
    expected = list(iterator)
    resumed = [iter(train(source, part=part)) for part in every_part(2)]
    for part in resumed:
        part.set_state(state)
    assert expected
    assert_same(expected, join([list(part) for part in resumed]))

    iterators = [iter(train(source, part=part)) for part in every_part(2)]
    for part in iterators:
        next(part)
    alone = iter(train(source))
    alone.set_state(iterators[1].get_state())
    assert_same(expected, list(alone))


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory):
    """Classes of 1, 3 and 7 records, and 2 records of no class."""
    labels = [4, 0, 1, 4, 4, -1, 1, 4, 4, 1, 4, -1, 4]
    whole = small_dataset.metadata
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_dataset, "metadata", lambda i: whole(i) | {"label": labels[i]})
        directory = tmp_path_factory.mktemp("unbalanced") / "dataset"
        return small_dataset.write(directory, len(labels))


def test_balanced_epochs_draw_every_class_equally_often(unbalanced):
    source = records.RecordSource(unbalanced, labelled=True)
    batches = train(source, batch_size=1, balanced=True, epochs=4)
    position = np.concatenate([batch["position"] for batch in batches])
    label = source.index["label"].to_numpy()
    epochs = position.reshape(4, 3 * 7)
    for epoch in epochs:
        assert np.bincount(label[epoch], minlength=5).tolist() == [7, 7, 0, 0, 7]
    assert epochs[0].tolist() != epochs[1].tolist()
    # Within a class, the records take turns: 28 draws of 3, of 1 and of 7 records.
    for end in range(1, 5):
        counts = np.bincount(epochs[:end].ravel(), minlength=len(source))
        for k in np.unique(label):
            assert np.ptp(counts[label == k]) <= 1
    # The class of 3 is not always cut short at the same record.
    third = [np.bincount(epoch, minlength=len(source))[label == 1].argmax() for epoch in epochs]
    assert len(set(third)) > 1


def test_records_of_no_class_are_refused_or_left_out(unbalanced):
    with pytest.raises(ValueError, match=r"2 of 13 .* v2.mp4#00000011|2 of 13 .* v1.mp4#00000005"):
        train(records.RecordSource(unbalanced))
    source = records.RecordSource(unbalanced, labelled=True)
    assert len(source) == 11
    assert all((batch["label"] >= 0).all() for batch in train(source))


@pytest.mark.parametrize(("blocks", "of"), [((), 2), ((2,), 2), ((-1,), 2), ((1, 0), 2), ((0,), 0)])
def test_blocks_that_a_batch_does_not_have_are_refused(blocks, of):
    with pytest.raises(ValueError, match="give ascending numbers"):
        Part(blocks, of)


def test_a_batch_that_does_not_divide_is_refused(source):
    with pytest.raises(ValueError, match="a batch of 4 cannot be cut into 3 equal blocks"):
        train(source, part=Part((0,), 3))
    with pytest.raises(ValueError, match="a batch of 5 cannot be cut into 2 equal blocks"):
        pipeline.eval_batches(source, batch_size=5, views=VIEWS, part=Part((0,), 2))
