"""UTKFace, CIFAR-10 and film reviews from small generated folders."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from linpoison.core import InputError
from linpoison.datasets.folders import read_cifar10, read_reviews, read_utkface
from linpoison.risk import Sample
from linpoison.subpopulations import FeatureMatch, three_parts


def face(folder, name, colour=(200, 100, 50), size=(20, 30)):
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(folder / name, format="JPEG", quality=95)


def test_faces_have_what_their_names_say(tmp_path):
    face(tmp_path / "part1", "61_1_3_20170109142408075.jpg.chip.jpg", (250, 0, 0))
    face(tmp_path / "part2", "15_0_0_20170116174525125.jpg", (0, 0, 250))
    face(tmp_path / "part2", "14_0_1_20170116174525126.jpg")
    face(tmp_path / "part2", "61_1_20170109142408075.jpg.chip.jpg")
    found = read_utkface(tmp_path, size=8)
    assert found.images.shape == (2, 8, 8, 3)
    assert found.images.dtype == np.uint8
    assert found.age.tolist() == [61, 15]
    assert found.gender.tolist() == [1, 0]
    assert found.race.tolist() == ["Indian", "White"]
    assert found.skipped == ("61_1_20170109142408075.jpg.chip.jpg",)
    np.testing.assert_allclose(found.images[0].mean(axis=(0, 1)), (250, 0, 0), atol=6)
    np.testing.assert_allclose(found.images[1].mean(axis=(0, 1)), (0, 0, 250), atol=6)


def test_faces_are_resized_not_cut(tmp_path):
    picture = Image.new("RGB", (40, 40), (0, 0, 0))
    picture.paste((255, 255, 255), (20, 0, 40, 40))
    picture.save(tmp_path / "30_0_0_1.jpg", quality=95)
    image = read_utkface(tmp_path, size=10).images[0]
    assert image[:, :4].max() < 30
    assert image[:, 6:].min() > 225


def test_the_groups_and_parts_of_the_paper(tmp_path):
    for number in range(40):
        face(tmp_path, f"{20 + number}_{number % 2}_{number % 5}_{number}.jpg", size=(4, 4))
    found = read_utkface(tmp_path, size=4)
    people = Sample(found.images, found.gender, annotations={"race": found.race, "age": found.age})
    parts = three_parts(people, (15, 15, 10))
    drawn = np.concatenate(parts.rows)
    assert np.unique(drawn).size == 40
    match = FeatureMatch(["race", "age"], bins={"age": (30, 45, 60)}).fit(people)
    assert len(match.names_) == 15
    assert "race=Asian, 30<=age<45" in match.names_


def test_faces_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="a folder"):
        read_utkface(tmp_path / "none")
    with pytest.raises(InputError, match="age_gender_race_date"):
        read_utkface(tmp_path)
    (tmp_path / "30_0_0_1.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match="30_0_0_1.jpg"):
        read_utkface(tmp_path)


def cifar(folder, name, labels):
    rng = np.random.default_rng(len(labels))
    pixels = rng.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    rows = [bytes([label]) + image.tobytes() for label, image in zip(labels, pixels, strict=True)]
    (folder / name).write_bytes(b"".join(rows))
    return pixels


def test_cifar10_from_its_binary_version(tmp_path):
    first = [cifar(tmp_path, f"data_batch_{number}.bin", [number] * number) for number in range(1, 6)]
    last = cifar(tmp_path, "test_batch.bin", [9, 0])
    (X, y), (X_test, y_test) = read_cifar10(tmp_path)
    assert y.tolist() == [k for k in range(1, 6) for _ in range(k)]
    assert y_test.tolist() == [9, 0]
    np.testing.assert_array_equal(X, np.moveaxis(np.concatenate(first), 1, 3))
    np.testing.assert_array_equal(X_test[1, 5, 7], last[1, :, 5, 7])


def test_damaged_cifar10(tmp_path):
    with pytest.raises(InputError, match="data_batch_1.bin"):
        read_cifar10(tmp_path)
    for content in (b"", b"x" * 3072, bytes([10]) + b"x" * 3072):
        (tmp_path / "data_batch_1.bin").write_bytes(content)
        with pytest.raises(InputError, match="3072 pixels"):
            read_cifar10(tmp_path)


def test_reviews_in_the_order_of_their_numbers(tmp_path):
    for part, name, text in [("pos", "10_9", "best"), ("pos", "2_8", "good<br /><br />film"), ("neg", "0_1", "bad")]:
        (tmp_path / "train" / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / part / f"{name}.txt").write_text(text, encoding="utf-8")
    texts, y = read_reviews(tmp_path)
    assert texts == ["bad", "good film", "best"]
    assert y.tolist() == [0, 1, 1]


def test_reviews_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="train/neg"):
        read_reviews(tmp_path)
    for name in ("neg", "pos"):
        (tmp_path / "test" / name).mkdir(parents=True)
        (tmp_path / "test" / name / "0_1.txt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(InputError, match="UTF-8"):
        read_reviews(tmp_path, "test")
