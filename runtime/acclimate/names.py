"""What to say to a name that is none."""

from __future__ import annotations

from collections.abc import Iterable

_SIMILAR = 0.6  # share of letters in common from which on a name may have been meant


def did_you_mean(name: str, valid: Iterable[str], *, of: str = "valid names") -> str:
    """How a sentence about an unknown name ends: "; did you mean 'XL-320'? valid names: MX-64, XL-320".

    Case, '-', '_' and spaces do not matter in what is close. of: what the valid names are called.
    """
    valid = list(valid)
    close = closest(name, valid)
    question = "" if close is None else f" did you mean {close!r}?"
    return f";{question} {of}: {', '.join(valid) or 'none'}"


def closest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that was probably meant, if any is close."""
    from difflib import get_close_matches  # not before: hardly any name is wrong

    folded = {_folded(known): known for known in valid}
    found = get_close_matches(_folded(name), folded, n=1, cutoff=_SIMILAR)
    return folded[found[0]] if found else None


def _folded(name: str) -> str:
    return "".join(character for character in name.casefold() if character not in "-_ ")
