r"""ChimpBehave: 7 behaviours of chimpanzees in a zoo, clips of 20 frames (arXiv 2405.20025).

The dataset's own script cuts the miniclips; the published lists chimpbehave_train.txt and
chimpbehave_val.txt (https://github.com/franktpmvu/Universal-Action-Space, "Data Preparation") have
a line "MINICLIP NUMBER_OF_THE_CLASS" each. The cohort:

    import csv, re
    with open("miniclips/cohort.csv", "w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["video", "animal", "label", "split"])
        for split, name in (("train", "train"), ("test", "val")):
            for line in open(f"chimpbehave_{name}.txt"):
                video = line.split()[0]
                label = re.search(r"_\d+_\d+_(.+)_clip_", video)[1]
                rows.writerow([video, video, label, split])

Here every miniclip counts as an animal. Otherwise the published lists would be refused, because
they put miniclips of one chimpanzee on both sides. For scores that generalise to other animals, set
`animal` to the chimpanzee's name (the file's name begins with it), leave out `split`, and add
--config.split.scheme=leave_one_group_out.

Run:      python -m mpjax.weights get uas_k400
          python -m mpjax.study --config=chimpbehave \
              --config.cohort=miniclips/cohort.csv --workdir=out/chimpbehave
          as published: --config.train.what=head
Takes:    not measured. 0.56 TFLOP per view; published: 4 hours of training (RTX 3090).
Expect:   top-1 / mean over classes 93.7 / 65.8 %; with uas_k600 93.5 / 72.3, with uas_k700
          94.2 / 56.4 (arXiv 2602.09518, linear probe): fine.recording in metrics.json.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "ChimpBehave: 7 behaviours"
    config.split.scheme = "fixed"  # of the cohort's column `split`
    # 32 frames, as published. The last of the 20 is repeated; the published code starts again with
    # the first.
    config.video.frames = 32
    config.video.stride = 32
    config.video.short_side = 256
    config.projector.weights = "uas_k400"
    config.head.class_balanced = False  # as published; true raises the mean over classes
    config.train.batch_size = 16
    config.train.drop_path = 0.3  # of Swin-B
    return config
