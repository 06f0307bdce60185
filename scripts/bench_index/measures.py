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


def true_shares(rows, exact, query, t, b):
    """(place, true share) of the best 100 of `rows` [hits]; `t`, `b` are places in inv_taus and biases. Rows beyond the true TOP are left out."""
    scores = dict(zip(exact["ids"][query].tolist(), exact["scores"][query].tolist()))
    places = [place for place, row in enumerate(rows[:100]) if row in scores]
    of = np.array([scores[rows[place]] for place in places])
    raised = np.exp(exact["inv_taus"][t] * (of - exact["scores"][query, 0].astype(np.float64)))
    shares = np.maximum(raised + exact["biases"][b], 0) / exact["totals"][query, t, b]
    return [(place, float(share)) for place, share in zip(places, shares) if share > SMALLEST_SHARE]


def summary(errors):
    """Median and 95th percentile; of nothing, nothing."""
    if not len(errors):
        return {"median": None, "p95": None}
    return {"median": float(np.median(errors)), "p95": float(np.percentile(errors, 95))}
