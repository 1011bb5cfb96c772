"""The report: JSON round trip, table, page and pictures."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import audit_cases
import numpy as np
import pytest
import scipy.sparse as sp

import linpoison
from linpoison.core import Dataset, InputError, LinearModel, Split
from linpoison.reporting import AuditReport, portraits
from linpoison.reporting.html import feature_table, figures_of
from linpoison.reporting.json_values import plain

pytestmark = pytest.mark.usefixtures("fake_attacks")


def report_of(split=None, **options) -> AuditReport:
    split = split or audit_cases.small_split()
    return linpoison.audit(
        split, **{"epsilon": 0.1, "defenses": ("l2", "loss"), "attacks": "kkt", "domain": "real", **options}
    )


@pytest.mark.parametrize("target", ["test", "train", "split:0.5"])
def test_json_round_trip(target):
    report = report_of(target=target)
    again = AuditReport.from_json(report.to_json())
    assert again == report
    assert again.to_json() == report.to_json()
    assert again.to_text() == report.to_text()


def test_json_of_a_later_minor_version_is_read_and_a_later_schema_refused():
    values = json.loads(report_of().to_json())
    values["new"] = values["attacks"][0]["new"] = 1
    assert AuditReport.from_json(json.dumps(values)).schema == 2
    with pytest.raises(InputError, match="schema 1"):
        AuditReport.from_json(json.dumps({**values, "schema": 1}))
    for text in ("{", "[]", "null", '{"schema": 2}'):
        with pytest.raises(InputError):
            AuditReport.from_json(text)


def test_plain_has_no_number_that_json_lacks():
    values = {"a": np.float64("nan"), "b": (np.int64(2), float("inf")), "c": np.arange(2), 3: None, "d": True}
    assert plain(values) == {"a": None, "b": [2, None], "c": [0, 1], "3": None, "d": True}


def test_text_has_every_number_and_reading():
    report = report_of(target="split:0.5")
    text = report.to_text()
    entry = report.attacks[0]
    for value in [*entry.test_error.values(), *entry.unseen_test_error.values(), entry.test_error_behind_all]:
        assert f"{100 * value:.1f} %" in text
    flat = " ".join(text.split())
    assert all(line in flat for line in report.reading)
    assert "1 of 2 conic solves failed" in flat
    assert max(len(line) for line in text.splitlines()) <= 110


def test_reading_says_what_must_be_said():
    free = " ".join(report_of(model="logistic", target="train").reading)
    for words in ("unseen", "only inserts rows", "Preprocessing is fixed", "not penalised", "does not mean", "safe"):
        assert words in free
    assert "is penalised" in " ".join(report_of().reading)


def uris(page: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r'src="data:image/[a-z+]+;base64,([^"]+)"', page)]


@pytest.mark.usefixtures("pictures")
def test_page_is_self_contained_and_its_pictures_are_pictures():
    page = report_of(target="split:0.5").to_html()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert "@import" not in page
    pictures = uris(page)
    assert len(pictures) == page.count("<img") == 5
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.tag.endswith("svg")
    assert all(len(alt) > 20 for alt in re.findall(r'alt="([^"]*)"', page))


def test_page_escapes_what_data_say():
    evil = "<script>alert(1)</script>"
    split = audit_cases.small_split(feature_names=(evil, "b", "c"))
    named = Split(replace(split.train, name=evil), split.test)
    page = report_of(named).to_html()
    assert evil not in page
    assert page.count("&lt;script&gt;") >= 3


@pytest.mark.usefixtures("pictures")
def test_page_of_a_report_from_json_has_the_pictures_that_numbers_allow():
    report = AuditReport.from_json(report_of().to_json())
    assert [figure.title.partition(":")[0] for figure in figures_of(report)] == [
        "Damage against number of rows",
        "Test error by defence",
        "How the attack progressed",
    ]
    assert report.to_html().count("<img") == 3


def test_pictures_are_the_same_for_the_same_report():
    first, second = (figures_of(report_of(attacks="one-class")) for _ in range(2))
    kept = [one.uri == other.uri for one, other in zip(first, second, strict=True) if "progressed" not in one.title]
    assert kept == [True] * 4


def test_images_are_shown_where_rows_are_images():
    rng = np.random.default_rng(0)
    y = np.where(np.arange(40) % 2, 1.0, -1.0)
    X = rng.random((40, 6)) + 0.5 * y[:, None]
    split = Split(Dataset(X, y, image_shape=(2, 3)), Dataset(X, y, image_shape=(2, 3)))
    report = report_of(split)
    figure = figures_of(report)[-1]
    assert figure.title == "Poison rows as images"
    assert figure.uri.startswith("data:image/png")
    assert "What the poison rows contain" not in report.to_html()


def test_features_of_the_poison_are_named_in_order_of_difference():
    report = report_of(audit_cases.small_split(feature_names=("one", "two", "three")))
    tables = feature_table(report.material, n=2)
    assert [table["label"] for table in tables] == ["+1", "-1"]
    gaps = [abs(row["poison"] - row["clean"]) for row in tables[0]["rows"]]
    assert gaps == sorted(gaps, reverse=True)
    assert {row["name"] for row in tables[0]["rows"]} <= {"one", "two", "three"}
    assert "column 0" in {row["name"] for table in feature_table(report_of().material) for row in table["rows"]}


@pytest.mark.parametrize("attack", ["fake", "one-class"])
def test_wide_sparse_rows_and_one_class_of_poison_can_be_drawn(attack):
    rng = np.random.default_rng(0)
    y = np.where(np.arange(60) % 2, 1.0, -1.0)
    X = rng.poisson(0.02, size=(60, 3000)).astype(float)
    X[:, 0] += y > 0
    split = Split(*(Dataset(sp.csr_array(X), y) for _ in range(2)))
    report = report_of(split, attacks=attack)
    figures = figures_of(report)
    assert len(figures) == 5
    assert len(report.to_html()) + sum(len(figure.uri) for figure in figures) < 3_000_000


def test_plane_holds_the_poison_points_and_the_middle_of_the_class_means():
    material = report_of().material
    flat = portraits.poison_plane(material)
    assert np.allclose(flat.basis.T @ flat.basis, np.eye(2))
    (left, right), (low, high) = flat.limits(material)
    at = flat.project(material.poison.X)
    assert ((at > [left, low]) & (at < [right, high])).all()
    middle = sum(material.train.of_class(label).X.mean(axis=0) for label in (1.0, -1.0)) / 2
    for point in [*material.relaxed.X, middle]:
        back = flat.origin + flat.basis @ flat.project(point[None, :])[0]
        assert np.allclose(back, point)


def test_boundary_points_have_score_zero():
    flat = portraits.poison_plane(report_of().material)
    model = LinearModel([1.0, -2.0, 0.5], 0.1)
    ends = flat.boundary(model, (-3, 3), (-3, 3))
    assert np.allclose(model.decision_function(flat.origin + ends @ flat.basis.T), 0)
    assert flat.boundary(LinearModel([1.0, -2.0, 0.5], 1e3), (-3, 3), (-3, 3)) is None


def test_save_is_whole_or_not_at_all(tmp_path, monkeypatch):
    report = report_of()
    monkeypatch.setattr(AuditReport, "to_json", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()
