"""Text that others wrote, made safe to show: no control character, no escape sequence, no half of a character."""

from __future__ import annotations


def is_plain(text: str) -> bool:
    """Whether a terminal shows `text` as it is, on one line."""
    return text.isprintable()


def plain(text: str) -> str:
    """`text` with whatever is not plain written out, as in \\n or \\x1b."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
