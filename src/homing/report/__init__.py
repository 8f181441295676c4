"""One page on a run: what was simulated and learned, the posterior, and whether to believe it.

The room has the name of what people call: `homing.report(run, path)` is `homing.report.report(run, path)`.
"""

import sys
from types import ModuleType
from typing import Any

from homing.report.server import watch
from homing.report.write import report

__all__ = ["report", "watch"]


class _Room(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        return report(*args, **options)


sys.modules[__name__].__class__ = _Room
