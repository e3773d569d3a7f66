"""Every error that Acclimate raises on purpose: one root, one sentence each, one exit code each."""

from __future__ import annotations

from acclimate.plain import plain


class AcclimateError(Exception):
    """Root of all deliberate errors. `str(error)` is one sentence for the user, whatever it quotes."""

    exit_code: int = 2  # 2: the user's mistake or bad input; 1: a fault at run time

    def __str__(self) -> str:
        return plain(super().__str__())


class UsageError(AcclimateError):
    """An argument, option or setting that cannot be right."""


class OutputError(AcclimateError):
    """What was found out cannot be written where it was wanted."""

    exit_code = 1


class MissingPartError(UsageError, AttributeError):
    """A function of the Python API whose extra is not installed; an AttributeError, so that `hasattr` is False."""


class BundleError(AcclimateError):
    """A bundle that is refused: truncated, altered, or not consistent with itself."""


class ManifestError(BundleError):
    """A manifest that breaks the format or contradicts itself."""


class GoldenError(BundleError):
    """The engine of this board does not reproduce the bundle's recorded sequence."""


class EngineError(AcclimateError):
    """An engine that is not installed or unknown, or that refuses a graph."""


class NoEngineError(EngineError):
    """None of the engines installed here is one that the bundle has members for."""


class MismatchError(AcclimateError):
    """The device is not one for this bundle or this host: other channels, or another protocol."""


class CheckpointError(AcclimateError):
    """A checkpoint that cannot be read, or belongs to another bundle."""


class PolicyError(AcclimateError):
    """A policy used against its rules: unknown state, nothing to roll back, an adaptation still running."""

    exit_code = 1


class Diverged(AcclimateError):  # noqa: N818  (what happened, not what went wrong in the program)
    """The machine was driven away from what was asked for."""

    exit_code = 3


class DeviceFault(AcclimateError):  # noqa: N818  (the field's word for it)
    """The device, or the link to it, failed while it was being driven."""

    exit_code = 1


class DeviceUnplugged(DeviceFault):
    """Its port has vanished: it may come back."""
