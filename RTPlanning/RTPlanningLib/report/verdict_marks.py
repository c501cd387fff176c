"""How pages show the verdict on a goal: its sign and words, and its style in ``report.css``."""

from __future__ import annotations

_SIGNS = {"passed": "✓", "acceptable": "~", "failed": "✗"}
_STYLES = {"passed": "passed", "failed": "failed"}


def verdict_text(verdict: str) -> str:
    """Return a verdict in words after its sign."""
    return f"{_SIGNS.get(verdict, '')} {verdict}".strip()


def verdict_style(verdict: str) -> str:
    """Return the style of a verdict: passed, failed, or open for all between."""
    return _STYLES.get(verdict, "open")
