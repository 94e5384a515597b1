"""The best and the worst images of a table's rows, drawn into its report's folder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from reports.site import PICTURES, gallery, gallery_folder, load_gallery

TABLE = TABLES["table2"]


@dataclass(frozen=True)
class Made:
    store: Store
    setup: Setup
    content: Bundle

    def bring(self, to: Path, content: Bundle | None = None) -> None:
        bring_gallery(content or self.content, self.setup, self.store.folder, to)


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
        yield Made(store, setup, bundle(store, setup, TABLE, [0]))


def test_the_best_and_the_reference_row_are_shown_and_each_picture_says_what_it_shows(
    made: Made, tmp_path: Path
) -> None:
    made.bring(tmp_path)
    folder = gallery_folder(tmp_path, "table2")
    pictures = iter(load_gallery(folder)["pictures"])
    for label in (TABLE.rows[TABLE.reference].label, TABLE.rows[2].label):
        insight = made.content.insights[made.content.signatures[label][0]]
        for rank, images in (("best", insight.best(BEST)), ("worst", insight.worst(WORST))):
            for image, picture in zip(images, pictures, strict=False):
                found = f"{image.found} of {image.num_truths} objects found, {image.false} false"
                assert picture["caption"] == (
                    f"{label}, seed 0, among its {rank}: {image.id:03}.png, "
                    f"F1 {image.score:.0f} %, {found}"
                )
                assert picture["alt"] == (
                    f"{image.id:03}.png: ground truth on the left, detections on the right. "
                    f"{found}."
                )
                with Image.open(folder / picture["file"]) as sheet:
                    assert sheet.width > 1.8 * sheet.height  # two square images
                assert (folder / picture["file"]).stat().st_size < 200_000
    assert next(pictures, None) is None


def test_they_are_drawn_once_and_anew_for_other_runs(made: Made, tmp_path: Path) -> None:
    made.bring(tmp_path)
    folder = gallery_folder(tmp_path, "table2")
    (folder / "mark").touch()
    made.bring(tmp_path)
    assert (folder / "mark").exists()
    (folder / "1.jpg").unlink()  # a picture is missing, so there is no gallery
    assert load_gallery(folder) == {}
    made.bring(tmp_path)
    assert (folder / "1.jpg").exists() and not (folder / "mark").exists()


def test_without_data_detections_or_insights_there_are_no_pictures_rather_than_old_ones(
    made: Made, tmp_path: Path
) -> None:
    others = replace(made.content, fingerprint="0" * 64)
    unknown = replace(made.content, insights={})
    away = replace(made.setup, where=str(tmp_path / "nowhere"))
    nowhere = Store(tmp_path / "elsewhere")  # a run folder from elsewhere may lack its detections
    for content, setup, store in (
        (others, made.setup, made.store),
        (made.content, away, made.store),
        (made.content, made.setup, nowhere),
        (unknown, made.setup, made.store),
    ):
        made.bring(tmp_path)
        folder = gallery_folder(tmp_path, "table2")
        if content is made.content:
            (folder / "1.jpg").unlink()  # what is there is not drawn again
        assert folder.is_dir()
        bring_gallery(content, setup, store.folder, tmp_path)
        assert not folder.exists() and gallery(tmp_path, "table2") == []


def test_the_report_holds_the_pictures_themselves(made: Made, tmp_path: Path) -> None:
    made.bring(tmp_path)
    parts = gallery(tmp_path, "table2")
    assert len(parts) == 2 * (BEST + WORST)
    assert all('src="data:image/jpeg;base64,' in part for part in parts)
    assert all('alt="' in part and "<figcaption>" in part for part in parts)
    (gallery_folder(tmp_path, "table2") / PICTURES).write_text("{")
    assert gallery(tmp_path, "table2") == []
