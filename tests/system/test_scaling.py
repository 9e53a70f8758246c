"""The arithmetic of docs/SCALING.md: every number of its tables follows from kbit/s, seconds and prices."""
import os
import re

import harness

PAGE = open(os.path.join(harness.TOP, "docs/SCALING.md"), encoding="utf-8").read()
MONTH_S, PACKET, BODY, WIRE = 30 * 24 * 3600, 1500, 1448, 1538


def listener_month_gb(kbps):
    return kbps * 125 * MONTH_S / 1e9 * PACKET / BODY


def rows(beginning):
    """Cells of the table whose head begins so, without its head."""
    lines = PAGE[PAGE.index(beginning):].split("\n\n")[0].splitlines()[2:]
    assert len(lines) > 2, beginning
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(text):
    return float(re.search(r"[\d.,]+", text.replace(",", "")).group())


def says(text, value):
    """The text's number is the value, rounded as the text is."""
    digits = len(text.split(".")[1].rstrip(" GMB*")) if "." in text else 0
    assert abs(number(text) - value) <= 0.5001 * 10 ** -digits, f"{text}: it is {value}"


def test_a_listener_month_is_what_it_says():
    says("43.0 GB", listener_month_gb(128))
    assert "takes 43.0 GB a month at 128 kbit/s" in PAGE
    for stream, hour, month, one, twenty, line in rows("| stream | an hour"):
        kbps = number(stream)
        gb = listener_month_gb(kbps)
        says(hour, gb / 720 * 1000)
        says(month, gb)
        says(one, 1000 / gb)
        assert abs(number(twenty) - 20000 / gb) <= 0.5001, (stream, 20000 / gb)
        assert abs(number(line) / (1e9 / (kbps * 1000 * WIRE / BODY)) - 1) < 0.002, stream


def test_prices_are_multiplied_right():
    table = rows("| where | published price")
    for where, price, *months in table:
        for kbps, month in zip((64, 128, 192, 320), months):
            says(month, number(price) * listener_month_gb(kbps))
            assert month[0] == price[0], where
    flat = {row[0]: number(row[1]) for row in table if "half of it used" in row[0]}
    for where, per_gb in flat.items():
        amount, unit, price = re.search(r"([\d.]+) (GB|TB) for [$€]([\d.]+)", where).groups()
        gb = float(amount) * (1000 if unit == "TB" else 1)
        assert abs(float(price) / (gb / 2) / per_gb - 1) < 0.01, where


def test_the_ledger_counts_no_less_than_packets():
    header = open(os.path.join(harness.TOP, "common/billing.h"), encoding="utf-8").read()
    assert float(re.search(r"BILLING_OVERHEAD ([\d.]+)", header).group(1)) >= PACKET / BODY
