"""The best and the worst images of a table's rows, drawn into its report's folder."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_runs import finish_run, setup_of, write_data
from PIL import Image

from experiments import TABLES
from orchestration.gallery import BEST, WORST, bring_gallery
from orchestration.plan import Setup
from orchestration.results import bundle
from orchestration.run_folder import Store, open_store
from reports import coco_bootstrap
from reports.results import Bundle
from reports.site import gallery, gallery_folder, load_gallery

TABLE = TABLES["table2"]


Made = tuple[Store, Setup, Bundle]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Three rows of Table 2, of which the third has the highest AP."""
    root = tmp_path_factory.mktemp("gallery")
    data = write_data(root / "pets", num_images=12)
    store, setup = open_store(root / "out"), setup_of(data, root / "pets")
    for row, right in zip(TABLE.rows, (0.4, 0.3, 0.9), strict=False):
        finish_run(store, setup, row, data, seed=0, right=right)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_bootstrap, "RESAMPLES", 10)
        yield store, setup, bundle(store, setup, TABLE, [0])


def bring(made: Made, to: Path) -> Path:
    """The folder of pictures."""
    store, setup, content = made
    bring_gallery(content, setup, store.folder, to)
    return gallery_folder(to, "table2")


def test_the_best_row_is_shown_and_each_picture_says_what_it_shows(
    made: Made, tmp_path: Path
) -> None:
    folder, content = bring(made, tmp_path), made[2]
    pictures = load_gallery(folder)["pictures"]
    label = TABLE.rows[2].label
    insight = content.insights[content.signatures[label][0]]
    ranked = [(image, "best") for image in insight.best(BEST)]
    ranked += [(image, "worst") for image in insight.worst(WORST)]
    for (image, rank), picture in zip(ranked, pictures, strict=True):
        found = f"{image.found} of {image.num_truths} objects found, {image.false} false"
        name, score = f"{image.id:03}.png", f"F1 {image.score:.0f} %"
        assert picture["caption"] == f"{label}, seed 0, among its {rank}: {name}, {score}, {found}"
        sides = "ground truth on the left, detections on the right"
        assert picture["alt"] == f"{name}: {sides}. {found}."
        with Image.open(folder / picture["file"]) as sheet:
            assert sheet.width > 1.8 * sheet.height  # two square images
        assert (folder / picture["file"]).stat().st_size < 200_000
    parts = gallery(tmp_path, "table2")  # the page holds the pictures themselves
    assert len(parts) == BEST + WORST
    assert all('src="data:image/jpeg;base64,' in part and 'alt="' in part for part in parts)


def test_they_are_drawn_once_and_anew_where_one_is_missing(made: Made, tmp_path: Path) -> None:
    folder = bring(made, tmp_path)
    (folder / "mark").touch()
    assert (bring(made, tmp_path) / "mark").exists()
    (folder / "1.jpg").unlink()
    assert load_gallery(folder) == {} and gallery(tmp_path, "table2") == []
    bring(made, tmp_path)
    assert (folder / "1.jpg").exists() and not (folder / "mark").exists()


def test_without_data_detections_or_insights_there_are_no_pictures_rather_than_old_ones(
    made: Made, tmp_path: Path
) -> None:
    store, setup, content = made
    for lacking in (
        (store, setup, replace(content, fingerprint="0" * 64)),
        (store, setup, replace(content, insights={})),
        (store, replace(setup, where=str(tmp_path / "nowhere")), content),
        (Store(tmp_path / "elsewhere"), setup, content),  # its runs may lack their detections
    ):
        (bring(made, tmp_path) / "1.jpg").unlink()  # what is there is not drawn again
        assert not bring(lacking, tmp_path).exists() and gallery(tmp_path, "table2") == []
