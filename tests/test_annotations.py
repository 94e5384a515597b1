"""A COCO file is read whole, or refused in one line that names the file and the record."""

import json

import numpy as np
import pytest
from made_up_coco import annotation, content

from detector.data.annotations import read_annotations


def read(folder, described):
    path = folder / "set.json"
    path.write_text(described if isinstance(described, str) else json.dumps(described))
    return read_annotations(path)


def spoiled(table, position, **changes):
    """content() with a record changed; None takes a key away."""
    described = content()
    record = described[table][position]
    record.update(changes)
    for key in [key for key, value in changes.items() if value is None]:
        del record[key]
    return described


def test_a_file_becomes_columns_whose_categories_are_sorted_by_id_whatever_the_gaps(tmp_path):
    table = read(tmp_path, "\ufeff" + json.dumps(spoiled("annotations", 1, area=150.5)))
    assert (table.category_ids, table.names) == ([3, 7], ["cat", "dog"])
    assert table.labels.tolist() == [1, 0, 1, 0, 0]
    assert table.images.tolist() == [1, 0, 0, 0, 1]
    assert table.is_crowd.tolist() == [False, False, False, True, False]
    assert table.sizes.tolist() == [[60, 40], [40, 60], [50, 50]]
    assert table.areas.tolist() == [1500, 150.5, 450, 2400, 72]  # the file's, or else the box's
    table = read(tmp_path, content() | {"annotations": []})
    assert (table.boxes.shape, table.areas.shape, len(table.image_ids)) == ((0, 4), (0,), 3)


DEEP = 10**5 * "[" + 10**5 * "]"
BAD = {
    "not JSON": ("{not json", "malformed"),
    "nested too deeply": (f'{{"licenses":{DEEP}}}', "maximum recursion depth"),
    "a list": ([], "Expected `object`, got `array`; annotations need COCO's JSON format"),
    "nothing": ({}, "missing required field `images`"),
    "no images": (content() | {"images": [], "annotations": []}, "of length >= 1 - at `$.images`"),
    "no category": (content() | {"categories": [], "annotations": []}, "1 - at `$.categories`"),
    "image a text": (content() | {"images": ["a.jpg"]}, "got `str` - at `$.images[0]`"),
    "no width": (spoiled("images", 1, width=None), "field `width` - at `$.images[1]`"),
    "no bbox": (spoiled("annotations", 2, bbox=None), "field `bbox` - at `$.annotations[2]`"),
    "blank name": (spoiled("categories", 0, name=" "), "id 7 has a blank name"),
    "name of control": (spoiled("categories", 1, name="a\x1b]0;b"), "id 3 has a blank name, or"),
    "width 0": (spoiled("images", 0, width=0), "`int` >= 1 - at `$.images[0].width`"),
    "height a fraction": (spoiled("images", 0, height=40.5), "at `$.images[0].height`"),
    "file name empty": (spoiled("images", 0, file_name=""), "at `$.images[0].file_name`"),
    "id too large": (spoiled("images", 0, id=2**70), "at `$.images[0].id`"),
    "area of 400 digits": (spoiled("annotations", 0, area=10**400), "out of range - at"),
    "image twice": (spoiled("images", 2, id=10), "image with id 10 is there twice"),
    "annotation twice": (spoiled("annotations", 3, id=1), "annotation with id 1 is there twice"),
    "category twice": (spoiled("categories", 1, id=7), "category with id 7 is there twice"),
    "image unknown": (spoiled("annotations", 4, image_id=99), "with id 5 has an image_id that no"),
    "class unknown": (spoiled("annotations", 0, category_id=1), "id 1 has a category_id that no"),
    "bbox of 3": (spoiled("annotations", 0, bbox=[1, 2, 3]), "at `$.annotations[0].bbox`"),
    "bbox of texts": (spoiled("annotations", 0, bbox=["1", 2, 3, 4]), "annotations[0].bbox[0]`"),
    "bbox infinite": (
        json.dumps(spoiled("annotations", 0, bbox=[1, 2, 3, 7.5])).replace("7.5", "1e999"),
        "out of range - at `$.annotations[0].bbox[3]`",
    ),
    "bbox NaN": (spoiled("annotations", 0, bbox=[1, 2, 3, float("nan")]), "malformed"),
    "bbox negative": (spoiled("annotations", 0, bbox=[1, 2, -3, 4]), "annotations[0].bbox[2]`"),
    "area negative": (spoiled("annotations", 0, area=-1), "at `$.annotations[0].area`"),
    "crowd of many": (spoiled("annotations", 0, iscrowd=5), "at `$.annotations[0].iscrowd`"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line(tmp_path, name):
    described, message = BAD[name]
    with pytest.raises(ValueError) as raised:
        read(tmp_path, described)
    told = str(raised.value)
    assert told.startswith(str(tmp_path / "set.json")) and message in told and "\n" not in told


def test_many_annotations_are_read_in_linear_time_and_a_missing_file_is_named(tmp_path):
    """COCO has 860,000; a quadratic step would already take minutes for 60,000."""
    described = content()
    described["annotations"] = [annotation(n, 10, 7, [n % 50, 1.5, 2, 3]) for n in range(60_000)]
    table = read(tmp_path, described)
    assert len(table.ids) == 60_000 and np.isclose(table.boxes[:, 0].max(), 49)
    with pytest.raises(FileNotFoundError, match="no annotation file .*nowhere.json"):
        read_annotations(tmp_path / "nowhere.json")
