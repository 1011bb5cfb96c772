"""
Between an attack and a certificate
===================================

The attack shows how bad the test error was made, the certificate how bad it can get. The truth lies between.
"""

import matplotlib.pyplot as plt

import linpoison

# %%
# Filters that were fitted on trusted rows and are then held fixed: certificates speak of these.

report = linpoison.certify(
    "breast_cancer", model="ridge", reg=0.1, defenses="l2", epsilon=[0.003, 0.01, 0.03], attacks="influence", jobs=1
)
print(report.to_text())

# %%
# Each line is one budget.

fig, axes = plt.subplots(figsize=(6, 3.5))
budgets = [100 * rung["epsilon"] for rung in report.rungs]
reached = [100 * rung["attack_error"] for rung in report.rungs]
proved = [100 * rung["bound"] for rung in report.rungs]
axes.fill_between(budgets, reached, proved, color="#0072B2", alpha=0.15)
axes.plot(budgets, proved, "v-", color="#0072B2", label="at most: certificate")
axes.plot(budgets, reached, "^-", color="#D55E00", label="at least: attack")
axes.plot(budgets, [100 * rung["clean_error"] for rung in report.rungs], ":", color="#8A8F98", label="clean")
axes.set(xlabel="budget (% of the training rows)", ylabel="test error (%)", ylim=(0, None))
axes.legend()
fig.tight_layout()
