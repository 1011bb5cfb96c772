"""
How many rows does it take?
===========================

The damage against the number of poison rows, with a range check and without.
"""

import matplotlib.pyplot as plt

import linpoison

# %%
# One audit has the answer for every smaller number of rows, too.

rows = linpoison.load("gaussians")
split = linpoison.Split(rows.train.take(range(200)), rows.test.take(range(200)))
report = linpoison.audit(split, epsilon=0.05, attacks="breakdown", defenses="l2,loss", jobs=1)
print(report.verdict)

# %%
# A range check refuses rows outside of what the training rows show in each column.

words = {"real": "no range check", "range": "within the range of each column"}
fig, axes = plt.subplots(figsize=(6, 3.5))
for domain, colour in (("real", "#D55E00"), ("range", "#0072B2")):
    points = [point for point in report.curve if point["domain"] == domain]
    errors = [100 * point["test_error"] for point in points]
    axes.step([point["rows"] for point in points], errors, where="post", color=colour, label=words[domain])
axes.set(xlabel="poison rows (of 200 training rows)", ylabel="error behind both filters (%)", ylim=(0, None))
axes.legend()
fig.tight_layout()
