"""Whether a device of yours keeps the contract of `acclimate.control.device.Device`: checks for your own tests.

    from acclimate.testing import check_device

    def test_my_arm():
        check_device(MyArm())

The device is armed and told to stay in neutral; nothing is told to move. Each check in `CHECKS` is a rule that the
control loop relies on. What breaks one is said in a sentence that names the member and what was expected.
"""

from acclimate.testing.conformance import CHECKS, DeviceContractError, check_device

__all__ = ["CHECKS", "DeviceContractError", "check_device"]
