"""One number in a servo's control table: where it is, how wide, and how its sign is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Register:
    """Little-endian. sign_bit: of the magnitude, as Feetech has it; None for two's complement, or no sign."""

    address: int
    size: int = 1
    signed: bool = False
    sign_bit: int | None = None

    @property
    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest number that fit."""
        if self.sign_bit is not None:
            return 1 - (1 << self.sign_bit), (1 << self.sign_bit) - 1
        if self.signed:
            return -(1 << (8 * self.size - 1)), (1 << (8 * self.size - 1)) - 1
        return 0, (1 << (8 * self.size)) - 1

    def encode(self, value: int) -> list[int]:
        """The bytes of a number. Raises ValueError for one that does not fit: a servo would take the rest of it."""
        low, high = self.bounds
        if not low <= value <= high:
            raise ValueError(
                f"{value} does not fit into register {self.address}, which takes {low} to {high}"
            )
        if self.sign_bit is not None and value < 0:
            value = -value | 1 << self.sign_bit
        return list((value & ((1 << (8 * self.size)) - 1)).to_bytes(self.size, "little"))

    def decode(self, block: Sequence[int], start: int = 0) -> int:
        """The number in a block of bytes that was read from address `start` on."""
        at = self.address - start
        raw = int.from_bytes(bytes(block[at : at + self.size]), "little")
        if self.sign_bit is not None:
            magnitude = raw & ((1 << self.sign_bit) - 1)
            return -magnitude if raw >> self.sign_bit & 1 else magnitude
        if self.signed and raw >> (8 * self.size - 1):
            raw -= 1 << (8 * self.size)
        return raw
