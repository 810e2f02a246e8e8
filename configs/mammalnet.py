"""MammalNet: 12 behaviours of 173 kinds of mammals, YouTube videos (arXiv 2306.00576).

The cohort comes from the lists of cut clips that the published config names, train_base.txt,
val_base.txt and test_base.txt, with a line "PATH NUMBER_OF_THE_CLASS" per clip:

    import csv
    with open("cohort.csv", "w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["video", "animal", "label", "split"])
        for split in ("train", "val", "test"):
            for line in open(f"{split}_base.txt"):
                path, label = line.rsplit(maxsplit=1)
                rows.writerow([path, path, label, split])

The animals are not identified, so each video counts as an animal.

Run:      python -m mpjax.weights get uas_k400
          python -m mpjax.study --config=mammalnet --config.cohort=cohort.csv \
              --workdir=out/mammalnet
          as published: --config.train.what=head
Takes:    not measured. 0.56 TFLOP per view of 32 frames, 12 views to a minute of video; published:
          8 hours of training (RTX 3090).
Expect:   top-1 56.6 %, mean over classes 43.2 % (arXiv 2602.09518, Kinetics-400, linear probe):
          fine.recording.accuracy and .mean_class_accuracy in metrics.json.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "MammalNet: 12 behaviours"
    config.split.scheme = "fixed"  # of the cohort's column `split`
    config.video.fps = 15.0  # every second frame at 30 Hz
    config.video.frames = 32
    config.video.stride = 225  # a clip every 15 s; published: 4 to a video
    config.video.short_side = 256
    config.build.allow_failures = True  # some videos are no longer on YouTube
    config.projector.weights = "uas_k400"
    config.head.class_balanced = False  # as published; true raises the mean over classes
    config.train.batch_size = 8
    config.train.drop_path = 0.3  # of Swin-B
    return config
