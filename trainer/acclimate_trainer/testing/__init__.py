"""Whether a family keeps the contract (`acclimate_trainer.contract.family`): checks to import into your own tests.

With pytest, a whole test of a family is

    from acclimate_trainer.testing import FamilyConformance

    class TestArm(FamilyConformance):
        def family(self):
            return Arm()

and everywhere else it is `check_family(Arm())`. Both run the checks in `CHECKS`, of which each is a law that some
algorithm, the export or a simulated device relies on. What breaks one is said in a sentence that names the family,
the member and what was expected. `acclimate train` runs the quick form of them before it trains.
"""

from acclimate_trainer.testing.conformance import CHECKS, FamilyConformance, check_family
from acclimate_trainer.testing.subject import ContractError

__all__ = ["CHECKS", "ContractError", "FamilyConformance", "check_family"]
