"""The scales: how long, on what images and with which backbone every row of a study is trained.

A study compares rows of one scale; only a table's own, PAPER or for Table 8 PAPER_2X, may be held
against the paper's numbers. The defaults of Recipe are the paper's (Sec. 3.1), and its code's where
it is silent: a warm-up of 500 iterations at a constant third of the learning rate, which the paper
does not mention.
"""

from dataclasses import replace

from detector.config import Recipe

PAPER = Recipe()  # 90,000 iterations of 16 images on COCO: hours on eight GPUs

# Table 8's (Sec. 4.4): twice as long, with the drops at 120k and 160k; the short side is drawn.
PAPER_2X = replace(PAPER, iterations=180_000, short_side=(640, 800))

# One GPU, minutes a run, any data set in COCO format: the paper's way, small. ImageNet weights with
# frozen statistics, SGD and its drops as in Sec. 3.1; images of 40 % of the paper's size, half its
# channels (the towers cost four times less).
MINI = Recipe(
    backbone="resnet18",
    pyramid_channels=128,
    iterations=3_000,  # 48,000 images: ten times over a data set of 4,800
    warmup_iterations=300,
    clip_gradient_norm=10.0,  # for the heads without GroupNorm; one choice for all rows
    short_side=(320, 320),
    long_side=544,
    threads=2,  # the GPU computes
    evaluations=4,
)

# The same GPU and nothing to fetch: no weights, GroupNorm, and twice as long to learn anything.
SCRATCH = replace(
    MINI,
    norm="group_norm",  # batch statistics frozen at random would never be learnt
    weights="none",
    iterations=6_000,
    optimizer="adamw",  # from scratch and in few steps SGD is slow
    learning_rate=0.0005,
    lr_decay="cosine",
    warmup_iterations=200,
    short_side=(192, 256),  # varied: from scratch, scale must be learnt
    long_side=384,
)

# A CPU, minutes a run, the embedded data set: shows that everything works, and directions at best.
DEMO = Recipe(
    backbone="small",
    norm="group_norm",
    weights="none",
    pyramid_channels=32,
    iterations=1_100,
    batch_size=8,
    optimizer="adamw",
    learning_rate=0.001,
    lr_decay="cosine",
    warmup_iterations=20,
    clip_gradient_norm=10.0,
    short_side=(128, 128),
    long_side=192,
    threads=1,  # as many runs at once as there are cores
    evaluations=3,
)

SCALES = {"demo": DEMO, "mini": MINI, "scratch": SCRATCH, "paper": PAPER, "paper-2x": PAPER_2X}
