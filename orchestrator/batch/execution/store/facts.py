"""Names of facts that more than one module asks for."""

from __future__ import annotations

# The number of the latest plan, and what it kept of its manifest.
PLAN, MANIFEST = "plan", "manifest"
# How many jobs owners have taken over from one another.
TAKEN_OVER = "taken over"
# The attempt after which a person asked to try everything again.
RETRIED_AFTER = "retried_after"
# Those whose value is a number.
NUMBERS = frozenset({PLAN, TAKEN_OVER, RETRIED_AFTER})
