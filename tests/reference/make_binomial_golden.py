# SPDX-License-Identifier: GPL-3.0-or-later
"""Votes and what they are worth, by SciPy: python3 make_binomial_golden.py > ../golden/binomial.json

Clopper-Pearson and Wilson intervals, two-sided binomial tests against a half, tails, and the
share that a number of votes detects. Made with SciPy 1.10.1.
"""
import json

from scipy.optimize import brentq
from scipy.stats import binom, binomtest


def shares():
    counts = [(k, n) for n in (1, 2, 5, 6, 18, 24) for k in range(n + 1)]
    counts += [(0, 100), (13, 100), (50, 100), (99, 100), (100, 100), (340, 1000), (999, 1000)]
    for right, n in counts:
        test = binomtest(right, n, 0.5, alternative="two-sided")
        exact = test.proportion_ci(0.95, "exact")
        wilson = test.proportion_ci(0.95, "wilson")
        yield {"right": right, "n": n, "p": test.pvalue, "exact": [exact.low, exact.high],
               "wilson": [wilson.low, wilson.high]}


def power():
    for n in (1, 5, 6, 7, 12, 18, 24, 40, 100, 1000):
        needed = next((k for k in range((n + 1) // 2, n + 1)
                       if binomtest(k, n, 0.5).pvalue < 0.05), 0)
        share = brentq(lambda p: binom.sf(needed - 1, n, p) - 0.8, 0.5, 1) if needed else None
        yield {"n": n, "needed": needed, "detectable": share}


def tails():
    for n, p in ((10, 0.3), (24, 0.5), (24, 0.99), (500, 0.02), (5000, 0.5)):
        for k in (1, n // 10, n // 2, n // 2 + n // 50, n):
            yield {"k": k, "n": n, "p": p, "at_least": binom.sf(k - 1, n, p)}


json.dump({"shares": list(shares()), "power": list(power()), "tails": list(tails())},
          __import__("sys").stdout, indent=None, separators=(",", ":"))
print()
