"""botocore.session, imported without the modules that write botocore's documentation.

Those are a tenth of what importing this package costs. They are imported when a docstring of a
client is looked at.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

DOCS: Final = "botocore.docs"
DOCSTRING: Final = f"{DOCS}.docstring"
KINDS: Final = ("ClientMethodDocstring", "PaginatorDocstring", "WaiterDocstring")


class LateDocstring(str):
    """Stands for a docstring of botocore, which is made when it is read; see `inspect.cleandoc`."""

    __slots__ = ("_arguments",)

    def __new__(cls, *_: object, **__: object) -> "LateDocstring":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._arguments = arguments, more

    def expandtabs(self, tabsize: Any = 8) -> str:
        """Return the text."""
        return str(self).expandtabs(tabsize)

    def __str__(self) -> str:
        arguments, more = self._arguments
        kind = getattr(import_module(DOCSTRING), type(self).__name__)
        return str(kind(*arguments, **more))


def _import() -> tuple[Any, Any]:
    return import_module("botocore.session"), import_module("botocore.handlers")


def _import_without_docs() -> tuple[Any, Any]:
    """Import with two modules in the place of the real ones, which are gone afterwards."""
    spec = find_spec(DOCS)
    if spec is None or DOCS in sys.modules:
        return _import()
    docstring = ModuleType(DOCSTRING)
    vars(docstring).update({kind: type(kind, (LateDocstring,), {}) for kind in KINDS})
    sys.modules[DOCS] = module_from_spec(spec)
    sys.modules[DOCSTRING] = docstring
    try:
        return _import()
    except ImportError:
        pass  # botocore needs more of its documentation than is known here
    finally:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{DOCS}.")]:
            del sys.modules[name]
    return _import()


session, handlers = _import_without_docs()
