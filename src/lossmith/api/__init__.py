"""One call for a whole study, with the user's own objects, under the words of the command line."""

from lossmith.api.evolve import evolve
from lossmith.api.explore import explore
from lossmith.api.probe import probe
from lossmith.api.report import report
from lossmith.api.result import Result
from lossmith.api.suspects import suspects

__all__ = ["Result", "evolve", "explore", "probe", "report", "suspects"]
