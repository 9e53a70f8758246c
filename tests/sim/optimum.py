#!/usr/bin/python3
"""What the months' traffic would have cost at least, everything known beforehand: a linear programme.

Variables are the GB that a class of relays (same place, price, allotment and line) sends to listeners of a place in an
hour; relays of a class are one in it, with their lines and allotments summed up, so the bound is if anything too low.
Solved by HiGHS through scipy.optimize.linprog. Prints one JSON object."""
import json
import sys

import numpy
import scipy
from scipy import sparse
from scipy.optimize import linprog


def solve(instance):
    classes, hours = instance["classes"], numpy.array(instance["hours"])
    hours *= instance["gb"] / hours.sum()
    n, places, span = len(classes), hours.shape[1], hours.shape[0]
    cost = numpy.array([[c["price"] + c["distance"][p] for p in range(places)] for c in classes]).ravel()
    cost = numpy.tile(cost, span)
    index = numpy.arange(span * n * places).reshape(span, n, places)

    def rows(groups):
        column = numpy.concatenate([g.ravel() for g in groups])
        row = numpy.concatenate([numpy.full(g.size, i) for i, g in enumerate(groups)])
        return sparse.csr_matrix((numpy.ones(column.size), (row, column)), (len(groups), cost.size))
    demand = rows([index[h, :, p] for h in range(span) for p in range(places)])
    lines = [index[h, c] for h in range(span) for c in range(n)]
    line_limits = [c["gb_per_hour"] for _ in range(span) for c in classes]
    months = [index[:, c] for c in range(n) if classes[c]["allotment_gb"]]
    month_limits = [c["allotment_gb"] for c in classes if c["allotment_gb"]]
    result = linprog(cost, A_eq=demand, b_eq=hours.ravel(), A_ub=rows(lines + months),
                     b_ub=numpy.array(line_limits + month_limits), method="highs")
    assert result.status == 0, result.message
    return result.fun, result.x.reshape(span, n, places).sum(axis=(0, 2))


if __name__ == "__main__":
    told = json.load(open(sys.argv[1]))
    best, by_class = solve(told)
    paid = told["money"] + told["distance_money"]
    out = {"solver": f"HiGHS in scipy {scipy.__version__}", "variables": len(told["hours"]) * len(told["classes"]) * len(told["hours"][0]),
           "optimum": round(best, 2), "paid": round(paid, 2), "ratio": round(paid / best, 4),
           "optimum_by_class_gb": [round(x) for x in by_class], "by_class_gb": told.get("by_class_gb")}
    print(json.dumps(out))
