"""Programs that are imported once, before the processes that run them are forked.

A forked process has in memory what all programs import. Of the metrics that came with it, it shows those alone
that its own program imports, as if it had been started by itself: a gauge of another's would say 0.
"""

import builtins
import importlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The supervisor imports this module too, and keeps what it imports.
    from prometheus_client.metrics import MetricWrapperBase


class Preloading:
    """Imports programs one by one, and remembers which module imports which."""

    def __init__(self, programs: Sequence[str]) -> None:
        self._waiting = list(programs)
        self._done: set[str] = set()
        self._foreign: dict[str, list[MetricWrapperBase]] = {}
        self._imports: dict[str, set[str]] = {}
        self._import = builtins.__import__

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to import."""
        return not self._waiting

    def import_next(self) -> None:
        """Import the program that is next."""
        self.import_program(self._waiting[0])

    def import_all(self) -> None:
        """Import what is left."""
        while self._waiting:
            self.import_next()

    def import_program(self, program: str) -> None:
        """Import a program as `python -m` would, without running it; nothing when it was done before.

        One that cannot be imported is left to the process that runs it, whose log then says why.
        """
        if program in self._waiting:
            self._waiting.remove(program)
        if program in self._done:
            return
        self._done.add(program)
        self._foreign.clear()
        builtins.__import__ = self._recorded
        try:
            importlib.import_module(_main(program))
        except (Exception, SystemExit):  # noqa: BLE001 - Whatever it is, it is not ours to say.
            return
        finally:
            builtins.__import__ = self._import
            # It is run later under the name of __main__, and runpy warns of one that is there twice.
            sys.modules.pop(_main(program), None)

    def _recorded(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - The names of builtins.__import__.
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        module = self._import(name, globals, locals, fromlist or (), level)
        importer = (globals or {}).get("__name__")
        if isinstance(importer, str) and level == 0:
            imported = self._imports.setdefault(importer, set())
            imported.add(name)
            # Of what is taken out of it modules alone: names are by the ten thousand, and each a text of its own.
            imported.update(part for part in (f"{name}.{one}" for one in fromlist or ()) if part in sys.modules)
        return module

    def metrics_of_others(self, program: str) -> "list[MetricWrapperBase]":
        """The metrics that are here for the sake of other programs alone.

        For all programs at once: to look for them is to write on most of the pages that are to be shared.
        """
        if program not in self._foreign:
            metrics = {name: _metrics_in(name) for name in self._imports}
            for one in self._done:
                ours = self._reached_from(_main(one))
                kept = {id(metric) for name in ours for metric in metrics.get(name, ())}
                others = {id(metric): metric for name in metrics.keys() - ours for metric in metrics[name]}
                self._foreign[one] = [metric for key, metric in others.items() if key not in kept]
        return self._foreign[program]

    def _reached_from(self, module: str) -> set[str]:
        reached: set[str] = set()
        beyond = [module]
        while beyond:
            name = beyond.pop()
            if name in reached:
                continue
            reached.add(name)
            beyond.extend(self._imports.get(name, ()))
            package, _, _ = name.rpartition(".")
            if package:
                beyond.append(package)
        return reached


def _main(program: str) -> str:
    return f"{program}.__main__"


def _metrics_in(module: str) -> "list[MetricWrapperBase]":
    from prometheus_client.metrics import MetricWrapperBase

    known = sys.modules.get(module)
    return (
        [] if known is None else [value for value in vars(known).values() if isinstance(value, MetricWrapperBase)]
    )


def hide(metrics: "Sequence[MetricWrapperBase]") -> None:
    """From now on these are not shown."""
    from prometheus_client import REGISTRY

    for metric in metrics:
        with suppress(KeyError):  # One that is of some labels alone is shown by the one that has all.
            REGISTRY.unregister(metric)
