import json
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from mpjax.data import tfrecord
from mpjax.training import metric_writer, profiler

STEPS = 12
IDS = tuple(f"clip{i}" for i in range(11))


def _metrics(step, **others):
    return {"loss": jnp.float32(1 / (step + 2)), "accuracy": jnp.float32(step / 30), **others}


def _run(directory, *, start=0, until=STEPS, **options):
    settings = {"steps": STEPS, "epochs": 3.0, "batch_size": 4, "log_every": 3, **options}
    with metric_writer.MetricWriter(directory, start=start, **settings) as writer:
        for step in range(start + 1, until + 1):
            writer.step(step, _metrics(step), IDS)
            if step % 6 == 0:
                writer.evaluated(step, {"accuracy": step / 100})
    return directory / "metrics.jsonl"


def _events(directory):
    """Reads scalars of all event files as (step, tag, value), and the steps to purge from."""
    scalars, purges = [], []
    for path in sorted((directory / "tensorboard").iterdir()):
        data, offset = path.read_bytes(), 0
        while offset < len(data):  # a TFRecord: length, its CRC, the record, its CRC
            size = int.from_bytes(data[offset : offset + 8], "little")
            framed = data[offset : offset + size + 16]
            payload = tfrecord.unframe_record(framed, where=path.name)  # checks both CRCs
            event = event_pb2.Event.FromString(bytes(payload))
            offset += len(framed)
            scalars += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            if event.HasField("session_log"):
                purges.append(event.step)
    return scalars, purges


def test_the_log_holds_every_nth_step_and_the_last_and_evaluations_in_order(tmp_path):
    path = _run(tmp_path, steps=11, until=11)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["step"], line["split"]) for line in lines] == [
        (3, "train"),
        (6, "train"),
        (6, "val"),
        (9, "train"),
        (11, "train"),
    ]
    assert list(lines[0]) == ["step", "split", "accuracy", "loss"]


def test_floats_come_back_from_the_log_exactly(tmp_path):
    first = json.loads(_run(tmp_path).read_text().splitlines()[0])
    assert np.float32(first["loss"]) == np.float32(1 / 5)
    assert first["loss"] == float(np.float32(1 / 5))


@pytest.mark.parametrize("killed_after", [1, 5, 6, 7, 11])
@pytest.mark.parametrize("resumed_from", [0, 5, 6])
def test_a_run_killed_and_resumed_ends_with_the_same_log(tmp_path, killed_after, resumed_from):
    whole = _run(tmp_path / "whole").read_bytes()
    path = _run(tmp_path / "killed", until=max(killed_after, resumed_from))
    with path.open("a") as file:
        file.write('{"step": 9, "split": "tr')  # killed while it wrote a line
    assert _run(tmp_path / "killed", start=resumed_from).read_bytes() == whole


def test_a_cut_off_line_is_dropped_even_where_its_step_is_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "split": "train"}\n{"step": 2, "split": "train"}')
    metric_writer.MetricLog(path, start=2)
    assert path.read_text() == '{"step": 1, "split": "train"}\n'


def test_a_log_that_is_none_is_refused_by_name(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nhello\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl: not a line of a metric log: 'hello'"):
        metric_writer.MetricLog(path, start=2)


def test_flush_brings_the_last_step_to_the_log(tmp_path):
    with metric_writer.MetricWriter(
        tmp_path, steps=9, epochs=1, batch_size=1, log_every=1
    ) as writer:
        writer.step(1, _metrics(1), IDS)
        assert not (tmp_path / "metrics.jsonl").exists()
        writer.flush()
        assert json.loads((tmp_path / "metrics.jsonl").read_text())["step"] == 1


def test_a_log_on_an_object_store_is_complete_after_flush(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = metric_writer.MetricLog(path, start=0)
    log._remote = True
    for step in (1, 2):
        log.write(step, "train", {"loss": 0.5})
        log.flush()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_long_stretch_without_a_save_is_sent_to_an_object_store_by_the_clock(
    tmp_path, monkeypatch
):
    path = tmp_path / "metrics.jsonl"
    with metric_writer.MetricWriter(
        tmp_path, steps=9, epochs=1, batch_size=1, log_every=1
    ) as writer:
        writer._log._remote = True
        writer.step(1, _metrics(1), IDS)
        writer.step(2, _metrics(2), IDS)
        assert not path.exists()
        monkeypatch.setattr(metric_writer, "_SEND_EVERY", 0.0)
        writer.step(3, _metrics(3), IDS)
        assert len(path.read_text().splitlines()) == 2


def test_a_step_is_read_when_the_next_one_is_reported(tmp_path):
    with metric_writer.MetricWriter(
        tmp_path, steps=9, epochs=1, batch_size=1, log_every=1
    ) as writer:
        for step in (1, 2, 3):
            writer.step(step, _metrics(step), IDS)
            path = tmp_path / "metrics.jsonl"
            lines = path.read_text().splitlines() if path.exists() else []
            assert len(lines) == step - 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("writes", [True, False])
def test_what_is_not_finite_ends_the_run_with_step_clips_and_way_back(tmp_path, value, writes):
    writer = metric_writer.MetricWriter(
        tmp_path,
        steps=9,
        epochs=1,
        batch_size=11,
        log_every=1,
        writer=writes,
        last_checkpoint=lambda: tmp_path / "checkpoints" / "400",
    )
    with writer:
        writer.step(1, _metrics(1), ("other",))
        writer.step(2, _metrics(2, gradient_norm=jnp.float32(value)), IDS)
        with pytest.raises(metric_writer.NotFinite) as caught:
            writer.step(3, _metrics(3), ("other",))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"step 2: gradient_norm is {value}")
    assert "clip0, clip1, clip2, clip3, clip4, clip5, clip6, clip7 and 3 more" in message
    assert "last good checkpoint: " + str(tmp_path / "checkpoints" / "400") in message
    assert "--config.train.optim.learning_rate" in message
    if writes:  # the steps before are in the log, this one is not
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1]


def test_the_last_step_is_read_when_the_writer_closes(tmp_path):
    with (
        pytest.raises(metric_writer.NotFinite, match="step 1: .*there is no checkpoint yet"),
        metric_writer.MetricWriter(tmp_path, steps=9, epochs=1, batch_size=1) as writer,
    ):
        writer.step(1, {"loss": jnp.float32(math.nan)}, IDS)


def test_an_evaluation_that_is_not_finite_is_refused(tmp_path):
    with (
        pytest.raises(
            metric_writer.NotFinite, match=r"step 4: loss is nan \(evaluation on the split val"
        ),
        metric_writer.MetricWriter(tmp_path, steps=9, epochs=1, batch_size=1) as writer,
    ):
        writer.evaluated(4, {"loss": math.nan})


def test_a_process_that_is_no_writer_writes_nothing(tmp_path):
    _run(tmp_path / "run", writer=False, profile=2)
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_metrics_and_speed_and_forgets_steps_made_again(tmp_path):
    _run(tmp_path, until=9)
    scalars, purges = _events(tmp_path)
    assert (3, "train/loss", np.float32(1 / 5)) in scalars
    assert (6, "val/accuracy", np.float32(0.06)) in scalars
    assert {(s, t) for s, t, _ in scalars if "clips" in t} == {
        (s, "train/clips_per_second") for s in (3, 6, 9)
    }
    assert purges == []
    _run(tmp_path, start=6)
    assert _events(tmp_path)[1] == [7]


def test_the_progress_line_shows_where_the_run_is_in_few_lines_of_a_log(tmp_path, capsys):
    _run(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("training: 0/12")
    for part in ("training: 12/12, epoch 3.00/3, loss 0.07143, accuracy 0.4, ", " clips/s, ETA "):
        assert part in lines[1]


@pytest.mark.parametrize(
    ("start", "steps", "length", "span"),
    [(0, 20, 4, (3, 7)), (10, 20, 4, (13, 17)), (0, 5, 4, (1, 5)), (0, 3, 9, (0, 9))],
)
def test_a_profile_begins_after_warm_up_where_there_are_steps_enough(start, steps, length, span):
    def due(length):
        trace = profiler.Profiler("", start=start, steps=steps, length=length)
        return tuple(s for s in range(30) if trace.due(s))

    assert due(length) == span
    assert due(0) == ()


@pytest.mark.parametrize("steps", [2, 9])
def test_a_profile_is_written(tmp_path, steps):
    step_fn = jax.jit(lambda x: x + 1)
    with metric_writer.MetricWriter(
        tmp_path, steps=steps, epochs=1, batch_size=1, profile=3
    ) as writer:
        for step in range(1, steps + 1):
            writer.step(step, {"loss": step_fn(jnp.float32(step))}, IDS)
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 0


def test_tensorboard_events_need_no_tensorflow():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['tensorflow'] = None; "
        "import tensorboardX; tensorboardX.SummaryWriter"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
