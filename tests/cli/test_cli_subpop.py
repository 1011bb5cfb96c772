"""`linpoison subpop`: table, files, resuming, and errors in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.decomposition import PCA

from linpoison.cli import main

QUICK = ["subpop", "gaussians", "--clusters", "4", "--components", "2", "--groups", "2", "--alpha", "1", "2"]


@pytest.mark.parametrize("attack", ["label-flip", "convex"])
def test_table_and_files(attack, capsys, tmp_path):
    assert main([*QUICK, "--attack", attack, "--out", str(tmp_path / "r"), "--model", "logistic"]) == 0
    text = capsys.readouterr().out
    assert "alpha 2: worst 2 " in text
    assert text.count("cluster ") == 4 + 1  # and the one that the verdict names
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == [
        "damage.png", "map.npz", "map.png", "subpop.html", "subpop.json",
    ]  # fmt: skip
    assert len(json.loads((tmp_path / "r" / "subpop.json").read_text())["groups"]) == 4
    assert (tmp_path / "r" / "map.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("match", ["clusters", "0"])
def test_the_map_is_that_of_scikit_learn(match, tmp_path, monkeypatch):
    from linpoison.auditing import subpop
    from linpoison.subpopulations import group_map

    seen = []
    monkeypatch.setattr(subpop, "group_map", lambda *given, **more: seen.append(given) or group_map(*given, **more))
    X = np.random.default_rng(0).integers(3, size=(120, 4)).astype(float)
    data = tmp_path / "a.npz"
    y = np.where(X[:, 1] + X[:, 2] > 2, 1, -1)
    np.savez(data, X=X, y=y)
    given = ["subpop", str(data), "--match", match, "--clusters", "3", "--alpha", "1", "--groups", "2", "--quiet"]
    assert main([*given, "--out", str(tmp_path / "r")]) == 0
    (matcher, auxiliary, rows, poison), found = seen[0], np.load(tmp_path / "r" / "map.npz")
    places = [part if match == "0" else matcher.embed(part) for part in (auxiliary, rows)]
    places = [getattr(part, "X", part) for part in places]
    theirs = PCA(2).fit(places[0]).transform(places[1])
    assert str(found["method"]) == "pca"
    np.testing.assert_allclose(np.abs(found["points"]), np.abs(theirs), atol=1e-8)
    assert np.array_equal(found["codes"], matcher.assign(rows))
    numbers = found["row_numbers"]
    np.testing.assert_array_equal(X[numbers], rows.X[found["index"]])
    np.testing.assert_array_equal(y[numbers], rows.y[found["index"]])
    assert np.unique(numbers).size == 36  # 30 % of the file, scattered over it
    assert not np.array_equal(numbers, found["index"])
    assert set(found["poison_codes"]) == set(poison)
    assert len(poison) == 2
    assert len(found["poison"]) == sum(part.n for part in poison.values())


def test_t_sne_and_the_picture(tmp_path, capsys):
    assert main([*QUICK, "--map", "tsne", "--out", str(tmp_path), "--model", "logistic"]) == 0
    assert "map.png" in capsys.readouterr().out
    with np.load(tmp_path / "map.npz") as found:
        assert str(found["method"]) == "tsne"
        assert found["points"].shape == (found["codes"].size, 2)
    picture = imread(tmp_path / "map.png")
    colours = {tuple(pixel) for pixel in np.round(picture[..., :3].reshape(-1, 3), 2)}
    assert len(colours) > 20


def test_json_alone(capsys):
    assert main([*QUICK, "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {group["alpha"] for group in found["groups"]} == {1.0, 2.0}


def test_resumes_from_the_journal(tmp_path, monkeypatch, capsys):
    from linpoison.subpopulations import ProblemTrainer

    real, fits = ProblemTrainer.fit, []

    def failing(self, rows, seed):
        fits.append(rows.n)
        if len(fits) == 5:
            raise KeyboardInterrupt
        return real(self, rows, seed)

    monkeypatch.setattr(ProblemTrainer, "fit", failing)
    out = [*QUICK, "--out", str(tmp_path / "r"), "--quiet"]
    assert main(out) == 130
    assert "resume" in capsys.readouterr().err
    assert main(out) == 0
    assert len(fits) == 5 + 1 + 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--attack", "magic"], "label-flip, convex"),
        (["--alpha", "0"], "alpha"),
        (["--match", "height"], "columns by name or by number below 10"),
        (["--match", "height"], "Or 'clusters'."),
        (["--match", "0,0"], "named once"),
        (["--clusters", "0"], "clusters"),
        (["--map", "globe"], "pca or tsne"),
    ],
)
def test_errors_are_one_line(options, text, capsys):
    assert main(["subpop", "gaussians", "--quiet", *options]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
