"""What many installed plugins cost: fresh processes, with generated metadata in front."""

from __future__ import annotations

import tempfile
from pathlib import Path

from . import common


class Discovery:
    params = (("start-up", "list_plugins", "list_optimizers", "optimizer('adam')"), (0, 200))
    param_names = ("task", "plugins")
    repeat = 10
    number = 1

    def setup(self, task: str, plugins: int) -> None:
        measure = common.script("measure_discovery")
        before, _, self.code = measure.TASKS[task].rpartition("t(); ")
        self.folder = tempfile.TemporaryDirectory()
        for number in range(plugins):
            measure.install(
                Path(self.folder.name), f"generated-{number}", f"rule-{number}", measure.MODULE
            )
        self.before = f"import sys; sys.path.insert(0, {self.folder.name!r}); {before}"

    def teardown(self, task: str, plugins: int) -> None:
        self.folder.cleanup()

    def timeraw_task(self, task: str, plugins: int) -> tuple[str, str]:
        return self.code, self.before
