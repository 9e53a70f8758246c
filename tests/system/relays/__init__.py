"""The subjects of test_relays.py."""
import stage

together = stage.Together(6)


def all_healthy(root, count):
    """Whether so many relays are sent listeners: their second report says that they know their tickets' key."""
    return len([r for r in root.stats()["relays"] if r["healthy"] and r["routing"]["why_not"] is None]) == count
