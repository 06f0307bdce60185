"""What all methods are measured by: recall, and the error of stated influences. See exact.py for the truth they are held against."""

import numpy as np

# Shares below this are nobody's influence, and relative errors of them mean nothing.
SMALLEST_SHARE = 1e-6


def recalls(found, ids, ks=(10, 100, 1000)):
    """Mean and 5th percentile over queries. `found`: a list of rows, best first, for each query; `ids` the true ones."""
    result = {}
    for k in ks:
        shares = [len(set(map(int, rows[:k])) & set(ids[i, :k].tolist())) / k for i, rows in enumerate(found)]
        result[f"recall@{k}"] = {"mean": float(np.mean(shares)), "p5": float(np.percentile(shares, 5))}
    return result


def true_share(score, exact, query, t, b):
    """The share of a row with the float32 `score`; `t`, `b` are places in inv_taus and biases."""
    raised = np.exp(exact["inv_taus"][t] * (np.float64(score) - exact["scores"][query, 0]))
    return np.maximum(raised + exact["biases"][b], 0) / exact["totals"][query, t, b]


def share_errors(rows, shares, exact, query, t, b):
    """Relative errors of the stated `shares` of the best 100 `rows`, with the true shares; rows beyond the true TOP are left out."""
    scores = dict(zip(exact["ids"][query].tolist(), exact["scores"][query].tolist()))
    pairs = [(share, true_share(scores[row], exact, query, t, b)) for row, share in zip(rows[:100], shares[:100]) if row in scores]
    return [(abs(share - true) / true, true) for share, true in pairs if true > SMALLEST_SHARE]


def summary(errors):
    """Median and 95th percentile; of nothing, nothing."""
    if not len(errors):
        return {"median": None, "p95": None}
    return {"median": float(np.median(errors)), "p95": float(np.percentile(errors, 95))}
