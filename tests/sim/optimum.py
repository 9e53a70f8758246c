#!/usr/bin/python3
"""What the months' traffic would have cost at least, everything known beforehand: a linear programme.

Variables are the GB that a class of relays (same place, price, allotment and line) sends to listeners of a place in an
hour; relays of a class are one in it, with their lines and allotments summed up, so the bound is if anything too low.

Told twice where places are kept for the loss of the largest relay: without that, and with it. Which one is the largest
is the programme's choice in each hour, and may be mixed (the convex hull of the choices, so that the bound stays one):
where it is one of s places, no relay has more than s listeners, and all relays together have no more than would have
places without it. What they may not have the root serves.

Solved by HiGHS through scipy.optimize.linprog. Prints one JSON object."""
import json
import sys

import numpy
import scipy
from scipy import sparse
from scipy.optimize import linprog


def rows(groups, width):
    column = numpy.concatenate([g.ravel() for g in groups])
    row = numpy.concatenate([numpy.full(g.size, i) for i, g in enumerate(groups)])
    return sparse.csr_matrix((numpy.ones(column.size), (row, column)), (len(groups), width))


def reserve(classes, demand, index, width):
    """Constraints of the hours in which the reserve is felt: (equations, their bounds, inequalities, theirs, columns)."""
    relays = [c for c, one in enumerate(classes) if not one["root"] and one["count"]]
    count = numpy.array([classes[c]["count"] for c in relays])
    each = numpy.array([classes[c]["gb_per_hour"] for c in relays]) / count
    total, sizes = (count * each).sum(), sorted(set(each))
    equal, equal_to, most, most_is = [], [], [], []
    if count.sum() < 2:
        return equal, equal_to, most, most_is, width
    for hour in numpy.flatnonzero(demand.sum(axis=1) > total - sizes[-1]):
        parts = []
        for size in sizes:
            part = width + numpy.arange(len(relays))  # GB of each kind while the largest is one of this size
            chosen, width = width + len(relays), width + len(relays) + 1
            parts.append((part, chosen))
            for k in range(len(relays)):
                most.append(([part[k], chosen], [1, -count[k] * min(each[k], size)]))
            most.append(([*part, chosen], [1] * len(relays) + [size - total]))
        most_is += [0] * (len(parts) * (len(relays) + 1))
        equal.append(([chosen for _, chosen in parts], [1] * len(parts)))
        equal_to.append(1)
        for k, c in enumerate(relays):
            sent = index[hour, c]
            equal.append(([*sent, *(part[k] for part, _ in parts)], [1] * sent.size + [-1] * len(parts)))
            equal_to.append(0)
    return equal, equal_to, most, most_is, width


def weighed(lines, width):
    row = numpy.repeat(numpy.arange(len(lines)), [len(columns) for columns, _ in lines])
    return sparse.csr_matrix((numpy.concatenate([w for _, w in lines]), (row, numpy.concatenate([c for c, _ in lines]))),
                             (len(lines), width))


def solve(instance, kept):
    """The least cost, the GB of each class, and in how many hours the reserve was felt."""
    classes, hours = instance["classes"], numpy.array(instance["hours"])
    hours *= instance["gb"] / hours.sum()
    n, places, span = len(classes), hours.shape[1], hours.shape[0]
    cost = numpy.array([[c["price"] + c["distance"][p] for p in range(places)] for c in classes]).ravel()
    cost = numpy.tile(cost, span)
    index = numpy.arange(cost.size).reshape(span, n, places)
    extra = reserve(classes, hours, index, cost.size) if kept else ([], [], [], [], cost.size)
    width = extra[4]
    equal = [rows([index[h, :, p] for h in range(span) for p in range(places)], width)]
    lines = [index[h, c] for h in range(span) for c in range(n)]
    line_limits = [c["gb_per_hour"] for _ in range(span) for c in classes]
    months = [index[:, c] for c in range(n) if classes[c]["allotment_gb"]]
    month_limits = [c["allotment_gb"] for c in classes if c["allotment_gb"]]
    most = [rows(lines + months, width)]
    if extra[0]:
        equal.append(weighed(extra[0], width))
        most.append(weighed(extra[2], width))
    result = linprog(numpy.concatenate([cost, numpy.zeros(width - cost.size)]), A_eq=sparse.vstack(equal),
                     b_eq=numpy.concatenate([hours.ravel(), extra[1]]), A_ub=sparse.vstack(most),
                     b_ub=numpy.concatenate([line_limits, month_limits, extra[3]]), method="highs")
    assert result.status == 0, result.message
    return result.fun, result.x[:cost.size].reshape(span, n, places).sum(axis=(0, 2)), extra[1].count(1)


if __name__ == "__main__":
    told = json.load(open(sys.argv[1]))
    best, by_class, _ = solve(told, False)
    kept, kept_by_class, felt = best, by_class, 0
    if told["reserve"]:
        kept, kept_by_class, felt = solve(told, True)
    paid = told["money"] + told["distance_money"]
    out = {"solver": f"HiGHS in scipy {scipy.__version__}", "variables": len(told["hours"]) * len(told["classes"]) * len(told["hours"][0]),
           "optimum": round(best, 2), "optimum_with_reserve": round(kept, 2), "hours_of_reserve": felt,
           "paid": round(paid, 2), "ratio": round(paid / best, 4), "ratio_with_reserve": round(paid / kept, 4),
           "optimum_by_class_gb": [round(x) for x in by_class],
           "with_reserve_by_class_gb": [round(x) for x in kept_by_class], "by_class_gb": told.get("by_class_gb")}
    print(json.dumps(out))
