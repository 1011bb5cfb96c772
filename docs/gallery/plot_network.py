"""
Plant parameters in a network
=============================

Gradient canceling makes rows under which given parameters look optimal, for any torch module.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from deep import LBFGS, Canceler, GradPC, LBFGSTrainer, Sample, TorchRisk, accuracy

# %%
# The module is that of the user; the risk gives its derivatives.

X, y = load_digits(return_X_y=True)
clean, test = Sample(X[:600] / 16, y[:600]).held_out(0.3, seed=0)
risk, trainer = TorchRisk(torch.nn.Linear(64, 10).double(), reg=1e-3), LBFGSTrainer(tol=1e-3)
learned = trainer.fit(risk, clean)

# %%
# Parameters near the learned ones that do worse, and rows that cancel their gradient.

target = GradPC(radius=2.0).target(risk, learned.w, clean)
found = Canceler(LBFGS(steps=30)).cancel(risk, target, clean, epsilon=0.1)
poisoned = trainer.fit(risk, clean.joined(found.poison, risk))
print(f"gradient at the target: {found.clean_residual:.2f} without poison, {found.residual:.2f} with it")
print(f"test accuracy: {accuracy(learned, test):.3f} clean, {accuracy(poisoned, test):.3f} poisoned")

# %%
# Six of the poison rows as pictures.

fig, axes = plt.subplots(1, 6, figsize=(9, 1.8))
for place, row in zip(axes, found.poison.X[:6], strict=True):
    place.imshow(row.reshape(8, 8), cmap="gray_r")
    place.set_axis_off()
