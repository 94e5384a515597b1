"""A COCO file is read whole, or refused in one line that names the file and the record."""

import json

import pytest
from made_up_coco import content

from detector.data.annotations import read_annotations


def read(folder, described):
    path = folder / "set.json"
    path.write_text(described if isinstance(described, str) else json.dumps(described))
    return read_annotations(path)


def spoiled(table, position, **changes):
    """content() with a record changed."""
    described = content()
    described[table][position].update(changes)
    return described


def test_a_file_becomes_columns_with_the_categories_sorted_by_id_whatever_the_gaps(tmp_path):
    table = read(tmp_path, spoiled("annotations", 1, area=150.5))
    assert (table.category_ids, table.names) == ([3, 7], ["cat", "dog"])
    assert table.labels.tolist() == [1, 0, 1, 0, 0]
    assert table.images.tolist() == [1, 0, 0, 0, 1]
    assert table.is_crowd.tolist() == [False, False, False, True, False]
    assert table.sizes.tolist() == [[60, 40], [40, 60], [50, 50]]
    assert table.areas.tolist() == [1500, 150.5, 450, 2400, 72]  # the file's, or else the box's


IMAGES = content()["images"]
DEEP = 10**5 * "[" + 10**5 * "]"
BAD = {
    "not JSON": ("{not json", "not JSON"),
    "nested too deeply": ('{"images":' + DEEP + "}", "Expected `object`"),
    "nested where nothing is read": ('{"licenses":' + DEEP + "}", "brackets nested too deeply"),
    "a list": ([], "Expected `object`, got `array`; annotations need COCO's JSON format"),
    "no categories": ({"images": IMAGES, "annotations": []}, "required field `categories`"),
    "no images": (content() | {"images": [], "annotations": []}, "of length >= 1 - at `$.images`"),
    "no category": (content() | {"categories": [], "annotations": []}, "1 - at `$.categories`"),
    "blank name": (spoiled("categories", 0, name=" "), "id 7 has a name that is blank"),
    "name of control": (spoiled("categories", 1, name="a\x1b]0;b"), "id 3 has a name that is"),
    "width 0": (spoiled("images", 0, width=0), "`int` >= 1 - at `$.images[0].width`"),
    "file name empty": (spoiled("images", 0, file_name=""), "at `$.images[0].file_name`"),
    "id too large": (spoiled("images", 0, id=2**70), "at `$.images[0].id`"),
    "area too large": (spoiled("annotations", 0, area=2e12), "at `$.annotations[0].area`"),
    "image twice": (spoiled("images", 2, id=10), "image with id 10 is there twice"),
    "annotation twice": (spoiled("annotations", 3, id=1), "annotation with id 1 is there twice"),
    "category twice": (spoiled("categories", 1, id=7), "category with id 7 is there twice"),
    "image unknown": (spoiled("annotations", 4, image_id=99), "id 5 has an image_id that"),
    "category unknown": (spoiled("annotations", 0, category_id=1), "id 1 has a category_id that"),
    "bbox of 3": (spoiled("annotations", 0, bbox=[1, 2, 3]), "at `$.annotations[0].bbox`"),
    "bbox too large": (spoiled("annotations", 0, bbox=[1, 2, 3, 2e6]), "annotations[0].bbox[3]`"),
    "bbox NaN": (spoiled("annotations", 0, bbox=[1, 2, 3, float("nan")]), "NaN and Infinity"),
    "bbox negative": (spoiled("annotations", 0, bbox=[1, 2, -3, 4]), "a bbox of negative size"),
    "area negative": (spoiled("annotations", 0, area=-1), "at `$.annotations[0].area`"),
    "crowd of many": (spoiled("annotations", 0, iscrowd=5), "at `$.annotations[0].iscrowd`"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line(tmp_path, name):
    described, message = BAD[name]
    with pytest.raises(ValueError) as raised:
        read(tmp_path, described)
    told = str(raised.value)
    assert message in told
    assert told.startswith(str(tmp_path / "set.json"))
    assert "\n" not in told


def test_how_many_are_wrong_is_said_too_and_a_missing_file_is_named(tmp_path):
    described = content()
    for record in described["annotations"][1:4]:
        record["category_id"] = 80
    with pytest.raises(ValueError, match=r"annotation with id 2 \(and 2 more\) has a category_id"):
        read(tmp_path, described)
    with pytest.raises(FileNotFoundError, match="no annotation file .*nowhere.json"):
        read_annotations(tmp_path / "nowhere.json")
