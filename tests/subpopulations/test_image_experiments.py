"""The experiments with pictures run on small generated ones, and measure what they say they measure."""

from __future__ import annotations

import sys
from copy import deepcopy
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).parents[2] / "experiments" / "subpopulation"
sys.path.insert(0, str(FOLDER))

import image_cases as cases  # noqa: E402
from PIL import Image  # noqa: E402

from deep import RiskLearner  # noqa: E402
from deep.text import TextClassifier  # noqa: E402
from deep.vision import vgg16  # noqa: E402
from linpoison.attacks.groups import LabelFlip  # noqa: E402
from linpoison.risk import Sample  # noqa: E402
from linpoison.subpopulations import RiskPredictor, correctness  # noqa: E402


def script(name):
    """A script under a name of its own: others are called attacks.py too."""
    spec = spec_from_file_location(f"subpopulation_{name}", FOLDER / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


images, attacks, defenses, targeted = (script(name) for name in ("images", "attacks", "defenses", "targeted"))


def case(*arguments, options_of=images.options_of):
    options = options_of(["--quick", *arguments])
    return cases.case_of(options), options


@pytest.fixture(scope="module", autouse=True)
def _learned_before_once():
    """The blocks that several cases begin with are learned once, on the same rows by the same trainer."""
    known, learn = {}, cases.learned_before

    def once(before, module, trainer, classes):
        key = (before.rows.X.tobytes(), before.rows.y.tobytes(), repr(module), repr(trainer), classes)
        if key not in known:
            known[key] = learn(before, module, trainer, classes)
        return deepcopy(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "learned_before", once)
        yield


@pytest.fixture(scope="module")
def learned():
    """The case whose last layer alone is learned, on features, with its surrogate and its surest cluster."""
    small = cases.on_features(case("--model", "ll")[0])
    surrogate = small.learner.fit(small.parts.auxiliary, 0)
    groups = cases.clusters_of(small, surrogate).subpopulations()
    right = correctness([surrogate], small.parts.test)[0]
    group = max((g for g in groups if g.size >= 15), key=lambda g: right[g.mask(small.parts.test)].mean())
    return small, surrogate, group


def rows_in(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]


def test_flips_of_a_cluster_hurt_it_and_are_resumed(capsys, tmp_path):
    out = tmp_path / "results" / "table.md"
    images.main(["--quick", "--journal", str(tmp_path / "j"), "--out", str(out)])
    first = capsys.readouterr().out
    assert out.read_text(encoding="utf-8") == first
    rows = rows_in(first)
    worst = next(row for row in rows if row[:2] == ["2", "1"])
    assert float(worst[2]) > 0.3 > abs(float(worst[3]))
    stored = sorted(path.stat().st_mtime_ns for path in (tmp_path / "j").iterdir())
    images.main(["--quick", "--journal", str(tmp_path / "j")])
    assert capsys.readouterr().out == first
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "j").iterdir()) == stored


def test_each_layer_has_its_clusters(capsys):
    images.main(["--quick", "--table", "3", "--epochs", "1", "--groups", "1", "--clusters", "3", "--seeds", "1"])
    names = [row[0] for row in rows_in(capsys.readouterr().out)[2:]]
    assert names[::2] == ["input", "first", "block1", "block2", "block3", "last"]


def test_parts_are_disjoint_and_surest_groups_come_last():
    small, _ = case()
    parts = (small.parts.train, small.parts.auxiliary, small.parts.test)
    rows = np.concatenate([part.X.reshape(part.n, -1) for part in parts])
    assert np.unique(rows, axis=0).shape == rows.shape
    surrogate = small.learner.fit(small.parts.auxiliary, 0)
    groups = cases.clusters_of(small, surrogate).subpopulations()
    ranked = cases.least_sure(groups, small, surrogate, 0)
    scores = torch.softmax(surrogate.risk.scores(surrogate.w, small.parts.auxiliary.X), dim=1).max(dim=1).values.numpy()
    sure = [scores[group.mask(small.parts.auxiliary)].mean() for group in ranked]
    assert sure == sorted(sure)
    assert cases.least_sure(groups, small, surrogate, 1) == ranked[:1]


def test_the_last_layer_on_features_is_the_same_learner():
    small, _ = case("--model", "ll", "--epochs", "2")
    fast = cases.on_features(small)
    assert fast.parts.train.X.ndim == 2
    one, other = (c.learner.fit(c.parts.train, 1).risk.module for c in (small, fast))
    torch.testing.assert_close(one.classifier.weight, other.weight, rtol=1e-4, atol=1e-5)
    whole, _ = case("--model", "ft", "--epochs", "1")
    assert cases.on_features(whole) is whole


def test_moved_rows_do_what_they_are_moved_for():
    small, options = case("--model", "ll", options_of=attacks.options_of)
    surrogate = small.learner.fit(small.parts.auxiliary, 0)
    group = cases.clusters_of(small, surrogate).subpopulations()[0]
    risk, w, auxiliary = surrogate.risk, surrogate.w, small.parts.auxiliary
    target = auxiliary.take(group.mask(auxiliary))
    slope = risk.data_grad(w, risk.rows(target.X), target.y)
    poison = {k: a.poison(auxiliary, group, 12, surrogate, 0) for k, a in attacks.attacks_of(small, 20).items()}
    along = {k: float(slope @ risk.data_grad(w, risk.rows(rows.X), rows.y)) for k, rows in poison.items()}
    assert along["GO"] < along["LF"] - 1e-4
    assert not np.array_equal(poison["INF"].X, poison["LF"].X)
    for rows in poison.values():
        assert rows.X.min() >= 0
        assert rows.X.max() <= 1
        assert np.array_equal(rows.y, poison["LF"].y)


def test_the_table_of_attacks(capsys):
    attacks.main(["--quick"])
    rows = rows_in(capsys.readouterr().out)[2:]
    assert [row[0] for row in rows] == ["LF", "GO", "INF"]
    assert float(rows[0][2]) > 0.1
    assert rows[0][5] == "0 of 1"
    assert float(rows[2][7]) > float(rows[0][7])


@pytest.mark.parametrize("name", ["TRIM", "SEVER", "AC", "SS", "k-NN", "RONI"])
def test_what_a_defence_drops_follows_the_rows(learned, name):
    small, surrogate, group = learned
    poison = LabelFlip().poison(small.parts.auxiliary, group, 20, surrogate, 0)
    rows, bad = defenses.shuffled(small.parts.train, poison, 0)
    assert bad.sum() == 20
    np.testing.assert_array_equal(np.sort(rows.y[bad]), np.sort(poison.y))
    learner = RiskLearner(small.risk, small.trainer)
    kept = defenses.kept_by(name, rows, 20 / rows.n, learner, defenses.known_of(small))
    if name in ("TRIM", "SEVER", "k-NN", "RONI"):
        assert abs((rows.n - len(kept)) - 20) <= 6
    if name == "TRIM":
        assert bad[kept].sum() < 0.7 * 20
    if name == "SS":
        features = learner.fit(rows.X, rows.y).representation(rows.X)
        for label in np.unique(rows.y):
            mine = rows.y == label
            centred = features[mine] - features[mine].mean(axis=0)
            score = (centred @ np.linalg.svd(centred, full_matrices=False)[2][0]) ** 2
            stays = np.isin(np.flatnonzero(mine), kept)
            assert score[stays].max() <= score[~stays].min() + 1e-9


def test_the_table_of_defences(capsys):
    defenses.main(["--quick"])
    rows = {row[4]: row for row in rows_in(capsys.readouterr().out)[2:]}
    assert list(rows) == list(defenses.NAMES)
    assert float(rows["none"][5]) > 0.1
    assert (float(rows["none"][7]), float(rows["none"][8])) == (0, 0)
    share = int(rows["TRIM"][2]) / (200 + int(rows["TRIM"][2]))
    assert float(rows["TRIM"][8]) == pytest.approx(share, abs=0.02)
    assert float(rows["SEVER"][8]) == pytest.approx(share, abs=0.08)
    assert float(rows["SS"][8]) == pytest.approx(0.15, abs=0.01)
    assert (float(rows["FP"][7]), float(rows["FP"][8])) == (0, 0)
    assert float(rows["RONI"][8]) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("attack", ["matching", "influence"])
def test_rows_are_moved_within_reach_against_the_targets(attack):
    small, options = case("--attack", attack, "--share", "0.05", options_of=targeted.options_of)
    sure = small.learner.fit(small.parts.train, targeted.SURROGATE)
    surrogate = RiskPredictor(sure.risk, 0.01 * sure.w)  # the bars are learned to a loss of zero, without a gradient
    pair = targeted.target_sets(small, surrogate, options)[0]
    targets, wanted = pair["sets"]["ClusterMatch"], pair["wanted"]
    assert np.unique(small.parts.test.y[targets]).size == 1
    assert wanted not in small.parts.test.y[targets]
    poison, chosen = targeted.poison_of(small, surrogate, targets, wanted, options, options.steps[-1])
    before = small.parts.train.X[chosen]
    assert len(chosen) == (1 if attack == "influence" else 10)
    assert (small.parts.train.y[chosen] == wanted).all()
    assert 0.01 < np.abs(poison.X - before).max() <= (1 if attack == "influence" else options.epsilon + 1e-6)
    assert 0 <= poison.X.min() <= poison.X.max() <= 1
    risk, w, aim = surrogate.risk, surrogate.w, small.parts.test.take(targets)
    if attack == "matching":
        slope = risk.data_grad(w, risk.rows(aim.X), np.full(aim.n, wanted))
        pulls = [risk.data_grad(w, risk.rows(X), poison.y) for X in (before, poison.X)]
        cosines = [float(slope @ pull / pull.norm() / slope.norm()) for pull in pulls]
        assert cosines[1] > cosines[0] + 0.02
    rows = targeted.replaced(small.parts.train, chosen, poison)
    changed = np.abs(rows.X - small.parts.train.X).reshape(rows.n, -1).max(axis=1) > 0
    assert set(np.flatnonzero(changed)) <= set(chosen.tolist())


def test_success_counts_wrong_labels(learned):
    small, _, _ = learned
    rows = small.parts.train
    inverted = Sample(rows.X, 1 - rows.y)
    targets = np.arange(50)
    assert targeted.success(small, inverted, targets, 1) > 0.7 > targeted.success(small, rows, targets, 1)


@pytest.mark.parametrize("attack", ["matching", "influence"])
def test_the_table_of_targeted_attacks(attack, capsys):
    targeted.main(["--quick", "--attack", attack])
    rows = rows_in(capsys.readouterr().out)[2:]
    assert [row[:2] for row in rows] == [
        [name, steps] for name in ("random", "ClusterMatch") for steps in ("none", "5", "10")
    ]
    assert all(row[2] == row[5] for row in rows)
    for name in ("random", "ClusterMatch"):
        some = [row for row in rows if row[0] == name]
        whole = [row[1] for row in some[1:] if row[2] == "1.000"]
        assert some[-1][6] == (f"{whole[0]} of 1" if whole else "none")


def faces_and_weights(folder):
    """30 faces from 20 to 49 years old, of all races and both genders, and weights of VGG16."""
    rng, faces = np.random.default_rng(0), folder / "faces"
    faces.mkdir()
    for number in range(30):
        pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8) + np.uint8(120 * (number % 2))
        Image.fromarray(pixels).save(faces / f"{20 + number}_{number % 2}_{number % 5}_{number}.jpg")
    state = {f"features.{k}": v for k, v in vgg16(2).features.state_dict().items()}
    torch.save(state, folder / "vgg16.pth")
    return faces


@pytest.mark.parametrize("model", ["ll", "ft"])
def test_faces_with_vgg16_from_files(model, tmp_path, capsys):
    faces = faces_and_weights(tmp_path)
    arguments = ["--data", "utkface", "--folder", str(faces), "--weights", str(tmp_path / "vgg16.pth"), "--size", "32",
                 "--model", model, "--rows", "8", "12", "10", "--epochs", "1", "--clusters", "2", "--groups", "1",
                 "--alphas", "1", "--seeds", "1"]  # fmt: skip
    options = images.options_of(arguments)
    small = cases.case_of(options)
    assert small.risk.size == (1026 if model == "ll" else 14_715_714)
    assert set(small.parts.train.annotations) == {"age", "race"}
    if model == "ll":
        images.main(arguments)
        assert "8, 12, 10 rows" in capsys.readouterr().out


def test_faces_of_one_race_and_age_group(tmp_path, capsys):
    faces = faces_and_weights(tmp_path)
    arguments = ["--data", "utkface", "--folder", str(faces), "--weights", str(tmp_path / "vgg16.pth"), "--size", "32",
                 "--rows", "4", "14", "12", "--epochs", "1", "--groups", "0", "--alphas", "1", "--seeds", "1",
                 "--match", "features", "--journal", str(tmp_path / "j")]  # fmt: skip
    small = cases.on_features(cases.case_of(images.options_of(arguments)))
    match, rows = cases.features_of(small), small.parts.auxiliary
    assert match.sizes_.sum() == rows.n == 14
    for group in match.subpopulations():
        inside = group.mask(rows)
        assert len(set(rows.annotations["race"][inside])) == 1
        assert len(set(np.digitize(rows.annotations["age"][inside], (30, 45, 60)))) == 1
        assert group.name.startswith("race=")
    images.main(arguments)
    told = capsys.readouterr()
    assert "4, 14, 12 rows" in told.out
    assert "race=" in told.err
    assert [row[1] for row in rows_in(told.out)[2:]] == ["10", "5", "1"]


def folder_of_reviews(folder, n=12):
    for part in ("train", "test"):
        for name, word in (("neg", "bad"), ("pos", "good")):
            (folder / part / name).mkdir(parents=True)
            for number in range(n):
                (folder / part / name / f"{number}_1.txt").write_text(f"{word} film {'very ' * (number % 3)}")
    return str(folder)


class Bert(torch.nn.Module):
    """One embedding and one block: all that is asked of BERT."""

    def __init__(self):
        super().__init__()
        self.embeddings = torch.nn.Embedding(8, 6)
        self.layer = torch.nn.ModuleList([torch.nn.Linear(6, 6)])

    def forward(self, input_ids, attention_mask):
        mask = attention_mask[..., None].float()
        return SimpleNamespace(last_hidden_state=self.layer[0]((mask * self.embeddings(input_ids)).cumsum(1).flip(1)))


@pytest.mark.parametrize("model", ["ll", "ft"])
def test_reviews_with_a_network_from_a_folder(model, tmp_path, capsys, monkeypatch):
    words, told = ["", "bad", "good", "film", "very"], []

    def tokenise(folder, texts, length=256):
        told.append(str(folder))
        codes = [[words.index(word) for word in text.split()] for text in texts]
        return np.array([row + [0] * (8 - len(row)) for row in codes])

    def load_bert(folder, classes):
        told.append(str(folder))
        return TextClassifier(Bert(), 6, classes)

    monkeypatch.setattr(cases.text, "tokenise", tokenise)
    monkeypatch.setattr(cases.text, "load_bert", load_bert)
    arguments = ["--data", "reviews", "--folder", folder_of_reviews(tmp_path / "aclImdb"), "--weights", "bert-here",
                 "--model", model, "--rows", "10", "14", "20", "--clusters", "2", "--groups", "1", "--alphas", "1",
                 "--seeds", "1"]  # fmt: skip
    small = cases.case_of(images.options_of(arguments))
    assert set(told) == {"bert-here"}
    for part in (small.parts.train, small.parts.auxiliary, small.parts.test):
        assert set(part.y) == {0, 1}
        assert ((part.X == 2).any(axis=1) == (part.y == 1)).all()
    assert (small.trainer.epochs, small.trainer.batch_size, small.trainer.step) == (4, 8, 1e-5)
    assert any("embeddings" in name for name in small.risk.layout.names) == (model == "ft")
    images.main(arguments)
    assert "10, 14, 20 rows" in capsys.readouterr().out


def test_what_is_missing_is_named():
    for arguments, words in [
        (["--data", "utkface"], "--folder"),
        (["--data", "cifar10", "--model", "ll"], "--weights"),
        (["--model", "head"], "features are in the data folder"),
        (["--quick", "--rows", "900", "900", "10"], "rows of 1000"),
        (["--data", "reviews"], "--folder"),
        (["--data", "reviews", "--folder", "aclImdb"], "--weights"),
    ]:
        options = images.options_of(arguments)
        if "cifar10" in arguments:
            with pytest.raises(SystemExit, match=words):
                cases.network("cifar10", "ll", options, (3, 16, 16), 10, None)
        else:
            with pytest.raises(SystemExit, match=words):
                cases.case_of(options)


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """Pictures of four shades, and features that say a half of each shade apart."""
    rng, parts = np.random.default_rng(0), {"train": 80, "test": 60}
    shade = {part: rng.integers(0, 4, n) for part, n in parts.items()}
    half = {part: rng.integers(0, 2, n) for part, n in parts.items()}
    pixels = {f"X_{p}": np.tile(60 * shade[p][:, None, None, None], (1, 32, 32, 3)).astype(np.uint8) for p in parts}
    seen = {f"X_{p}": (10 * np.eye(8)[2 * shade[p] + half[p]]).astype(np.float16) for p in parts}
    y = {f"y_{p}": shade[p].astype(np.uint8) for p in parts}
    np.savez(tmp_path / "cifar10_small.npz", **pixels, **y)
    np.savez(tmp_path / "cifar10_small_effnet.npz", **seen, **y)
    monkeypatch.setenv("LINPOISON_DATA", str(tmp_path))
    return {p: 2 * shade[p] + half[p] for p in parts}


ROWS = ["--data", "cifar10_small", "--rows", "40", "40", "60", "--groups", "1", "--alphas", "2", "--seeds", "1"]


def test_a_layer_on_features_and_several_numbers_of_clusters(archives, capsys):
    images.main([*ROWS, "--model", "head", "--counts", "4", "8", "--epochs", "60"])
    rows = rows_in(capsys.readouterr().out)[2:]
    assert [row[0] for row in rows] == ["4 clusters"] * 3 + ["8 clusters"] * 3
    assert all(0 <= float(share) <= 1 for share in rows[0][8].split(" to "))
    assert float(rows[-1][3]) > 0.5 > float(rows[-1][4])


def test_clusters_of_another_networks_features_are_those_of_the_same_rows(archives):
    small = cases.case_of(images.options_of([*ROWS, "--model", "conv", "--clusters", "8"]))
    assert small.parts.train.X.shape[1:] == (3, 16, 16)
    moved, match = cases.clusters_elsewhere(small, "cifar10_small")
    whole = np.concatenate([archives["train"], archives["test"]])
    for part, old in zip((moved.parts.train, moved.parts.test), (small.parts.train, small.parts.test), strict=True):
        pairs = set(zip(match.assign(part).tolist(), whole[old.annotations["row"]].tolist(), strict=True))
        assert len(pairs) == len({code for code, _ in pairs}) == 8
        assert (whole[old.annotations["row"]] // 2 == part.y).all()


def test_the_mean_of_tokens_leaves_out_what_fills_a_text():
    whole = cases.pretrained.MeanOfTokens(Bert())
    tokens = torch.tensor([[1, 2, 0, 0], [1, 2, 3, 0]])
    seen = whole(tokens, (tokens != 0).long()).pooler_output
    states = whole.encoder(tokens, (tokens != 0).long()).last_hidden_state
    want = states[0, :2].sum(dim=0)
    torch.testing.assert_close(seen[0], want / want.norm())


def test_pictures_are_enlarged_to_what_the_network_was_learned_from():
    seen = cases.pretrained.Enlarged(8)(torch.full((2, 3, 4, 4), 127 / 255))
    assert seen.shape == (2, 3, 8, 8)
    torch.testing.assert_close(seen, torch.zeros_like(seen), atol=1e-5, rtol=0)


def test_finished_steps_are_of_one_learning_rate_and_one_network(tmp_path):
    steps = [["--step", "0.1"], ["--step", "0.2"], ["--weights", "here"], []]
    stores = [cases.store_at(images.options_of(["--journal", str(tmp_path), *step]), "images") for step in steps]
    stores[0].put("found", {"x": np.ones(1)})
    assert [store.get("found") is None for store in stores] == [False, True, True, True]


def test_features_need_annotations_and_have_no_layers(capsys):
    small = case()[0]
    with pytest.raises(SystemExit, match="--data utkface"):
        cases.features_of(small)
    with pytest.raises(SystemExit, match="--data cifar10_small or sentences"):
        cases.clusters_elsewhere(small, "generated")
    with pytest.raises(SystemExit, match="2"):
        images.options_of(["--match", "features", "--table", "3"])
    assert "no layers" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        attacks.options_of(["--data", "reviews"])  # tokens cannot be moved
