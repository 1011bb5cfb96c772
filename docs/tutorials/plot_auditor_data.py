"""
The auditor: somebody else's model
==================================

A shop sorts reviews by a linear classifier on sentence embeddings, and learns from what customers write. You are handed
the embeddings and the labels, and are asked three things: is there poison in them already, how bad can it get, and
which answers can be vouched for?
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import normalize

import linpoison

# %%
# The rows in hand
# ----------------
#
# An ``.npz`` file in the folder ``LINPOISON_DATA`` is loaded by its name; any other by its path. Embeddings have
# length 1, and so has what an attacker can plant. Here somebody has planted copies of one review with a false label.

reviews = linpoison.load("reviews_minilm")
X_train, y_train = normalize(reviews.train.X[:600]), reviews.train.y[:600]
X_test, y_test = normalize(reviews.test.X[:300]), reviews.test.y[:300]
X = np.vstack([X_train, np.repeat(X_train[[0]], 18, axis=0)])
y = np.append(y_train, np.full(18, -y_train[0]))

# %%
# Is there poison in them already?
# --------------------------------
#
# Every detector looks at every row; the ranking is one of all of them, and gives its reasons.

found = linpoison.inspect((X, y), model="logistic", top=20)
for entry in found.suspects[:3]:
    print(entry["row"], "; ".join(entry["reasons"]))
planted = sum(entry["row"] >= 600 for entry in found.suspects)
print(f"{planted} of the 18 planted rows are among the first 20")

# %%
# How bad can it get?
# -------------------
#
# Without these rows, against an attacker who knows the model and its filters.

out = Path(tempfile.mkdtemp())
report = linpoison.audit(
    (X_train, y_train, X_test, y_test), model="logistic", reg=0.01, epsilon=0.03, domain="unit", defenses="l2,loss",
    target="split:0.5", attacks="random-flips,breakdown", out=out, jobs=1,
)  # fmt: skip
print(report.verdict)

# %%
# Hand on ``report.html`` to people and ``report.json`` to programs. With ``redact=True`` they hold no poison.

print(sorted(path.name for path in out.iterdir() if path.is_file()))

# %%
# Which answers can be vouched for?
# ---------------------------------
#
# If at most so many of the rows in hand were planted, nobody knows which: this answer is that of the genuine rows.

model = linpoison.CertifiedClassifier(reg=0.1, trusted=(X_test[:100], y_test[:100])).fit(X_train, y_train)
withstood = model.certify(X_test[100:], "planted", most=30)
right = model.predict(X_test[100:]) == y_test[100:]
fig, axes = plt.subplots(figsize=(6, 3.5))
rows = np.arange(31)
axes.step(rows, [100 * np.mean(right & (withstood >= k)) for k in rows], where="post", color="#0072B2")
axes.set(xlabel="planted rows", ylabel="answers right and certified (%)", ylim=(0, 100))
fig.tight_layout()
