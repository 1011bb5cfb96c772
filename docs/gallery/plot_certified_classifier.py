"""
Answers of data that may be poisoned
====================================

Some of the rows in hand were planted, nobody knows which. A classifier whose scaler and filters come from trusted rows
says of each answer how many planted rows cannot have made it.
"""

import matplotlib.pyplot as plt
import numpy as np

from linpoison import CertifiedClassifier, load

# %%
# A few rows are known to be clean, and are not trained on. Twelve copies of a test row are planted with a wrong label.

split = load("breast_cancer")
order = np.random.default_rng(0).permutation(split.train.n)
trusted = split.train.take(order[:60])
genuine = split.train.take(order[60:])
scores = CertifiedClassifier(trusted=(trusted.X, trusted.y)).fit(genuine.X, genuine.y).decision_function(split.test.X)
target = np.argmin(np.abs(scores))
X = np.vstack([genuine.X, np.repeat(split.test.X[[target]], 12, axis=0)])
y = np.append(genuine.y, np.full(12, -np.sign(scores[target])))

# %%
# What the model of all of these rows says, and up to how many planted rows the model of the others says the same.

model = CertifiedClassifier(trusted=(trusted.X, trusted.y)).fit(X, y)
held = model.certify(split.test.X, "planted", most=30)
changed = model.predict(split.test.X) != np.where(scores > 0, 1, -1)
safe = held >= 12
print(f"{changed.sum()} answers changed")
print(f"{safe.mean():.0%} hold for 12 planted rows, {changed[safe].sum()} of them changed")

# %%
# The certificate of one answer checks itself, and says what it rests on.

certificate = model.certificate(split.test.X[[held.argmax()]], 12)
print(f"negative margin at most {certificate.verify()[0]:.3f}, if", *certificate.assumptions, sep="\n  ")

# %%
# Answers near the boundary are the first to go.

fig, axes = plt.subplots(figsize=(8, 4))
distance = np.abs(model.decision_function(split.test.X))
axes.scatter(distance, held, s=14, color="#0072B2", label="as with the genuine rows")
axes.scatter(distance[changed], held[changed], s=60, marker="x", color="#D55E00", label="changed by the planted rows")
axes.axhline(12, color="k", linestyle="--", label="rows planted")
axes.set(xlabel="distance of the score from zero", ylabel="planted rows withstood")
axes.legend(loc="lower right")
fig.tight_layout()
