"""BERT's loading code, and text classifiers over tokens, with a small encoder in its place."""

from __future__ import annotations

import builtins
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep.adam_training import AdamTrainer  # noqa: E402
from deep.text import TextClassifier, load_bert, text_risk, tokenise  # noqa: E402
from linpoison.core import InputError, MissingDependency  # noqa: E402
from linpoison.risk import Sample  # noqa: E402

HAS_TRANSFORMERS = find_spec("transformers") is not None
GOOD, BAD = 5, 6


class Encoder(torch.nn.Module):
    """Embeddings and two blocks, called as transformers calls its own; padding must not count."""

    def __init__(self):
        super().__init__()
        self.embeddings = torch.nn.Embedding(12, 8)
        self.layer = torch.nn.ModuleList([torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)])

    def forward(self, input_ids, attention_mask, output_hidden_states=False):
        mask = attention_mask[..., None].to(self.embeddings.weight.dtype)
        states = [self.embeddings(input_ids)]
        for block in self.layer:
            mean = (mask * states[-1]).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)
            states.append(torch.tanh(block(states[-1] + mean)))
        return SimpleNamespace(last_hidden_state=states[-1], hidden_states=tuple(states))


def classifier():
    torch.manual_seed(0)
    return TextClassifier(Encoder(), 8, 2, dropout=0.0)


def reviews(n=40):
    rng = np.random.default_rng(0)
    X = np.zeros((n, 6), dtype=np.int64)
    y = np.arange(n) % 2
    X[:, 0], X[:, 1:4] = 2, rng.integers(7, 12, (n, 3))
    X[np.arange(n), rng.integers(1, 4, n)] = np.where(y == 1, GOOD, BAD)
    return X, y


@pytest.mark.parametrize("mode", ["ll", "ft"])
def test_reviews_are_learned_from_tokens(mode):
    (X, y), module = reviews(), classifier()
    risk = text_risk(module, mode)
    trained = AdamTrainer(40, 8, 0.02).fit(risk, Sample(X, y))
    assert (trained.risk.predict(trained.w, X).numpy() == y).mean() > 0.95
    same = torch.equal(trained.risk.module.encoder.layer[0].weight, module.encoder.layer[0].weight)
    assert same == (mode == "ll")
    assert not torch.equal(trained.risk.module.encoder.layer[1].weight, module.encoder.layer[1].weight)


def test_the_last_block_and_layer_alone_are_learned():
    names = text_risk(classifier(), "ll").layout.names
    assert names == ["encoder.layer.1.weight", "encoder.layer.1.bias", "classifier.weight", "classifier.bias"]
    with pytest.raises(InputError, match="blocks called"):
        text_risk(TextClassifier(torch.nn.Linear(1, 1), 8, 2), "ll")
    with pytest.raises(InputError, match="'ll' or 'ft'"):
        text_risk(classifier(), "all")


def test_padding_is_not_attended_to():
    module, short = classifier().eval(), torch.tensor([[2, GOOD, 7]])
    long = torch.tensor([[2, GOOD, 7, 0, 0, 0]])
    torch.testing.assert_close(module(short), module(long.double()))
    assert not torch.allclose(module(short), module(torch.tensor([[2, BAD, 7]])))


def test_states_of_a_block_are_flattened():
    X, module = reviews(5)[0], classifier()
    first, last = module.states(X, 0, batch_size=2), module.states(X)
    assert first.shape == last.shape == (5, 48)
    hidden = module.encoder(torch.as_tensor(X), torch.as_tensor(X != 0), True).hidden_states
    np.testing.assert_allclose(first, hidden[1].detach().flatten(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(last, hidden[2].detach().flatten(1), rtol=1e-5, atol=1e-7)


def test_without_transformers_one_clear_error(monkeypatch, tmp_path):
    real = builtins.__import__

    def missing(name, *arguments, **keywords):
        if name == "transformers":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependency, match="transformers"):
        load_bert(tmp_path, 2)
    with pytest.raises(MissingDependency, match="transformers"):
        tokenise(tmp_path, ["a"])


@pytest.mark.skipif(not HAS_TRANSFORMERS, reason="the package transformers is not installed")
def test_a_tiny_bert_from_a_folder(tmp_path):
    import transformers

    config = transformers.BertConfig(vocab_size=12, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                                     intermediate_size=32, max_position_embeddings=16)  # fmt: skip
    torch.manual_seed(0)
    original = transformers.BertModel(config).eval()
    original.save_pretrained(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "the", "a", "was", "very"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    X = tokenise(tmp_path, ["the film was good", "bad"], 8)
    assert X.tolist() == [[2, 8, 7, 10, 5, 3, 0, 0], [2, 6, 3, 0, 0, 0, 0, 0]]
    module = load_bert(tmp_path, 2).eval()
    mask = torch.as_tensor(X != 0).long()
    with torch.no_grad():
        pooled = original(input_ids=torch.as_tensor(X), attention_mask=mask).pooler_output
        torch.testing.assert_close(module(torch.as_tensor(X)), module.classifier(pooled))
    assert all("layer.0." not in name for name in text_risk(module, "ll").layout.names)
    trained = AdamTrainer(10, 4, 0.02).fit(text_risk(module, "ft"), Sample(np.repeat(X, 4, 0), [1] * 4 + [0] * 4))
    assert trained.risk.predict(trained.w, X).tolist() == [1, 0]


@pytest.mark.skipif(not HAS_TRANSFORMERS, reason="the package transformers is not installed")
def test_folders_without_a_model(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="transformers"):
            load_bert(folder, 2)
