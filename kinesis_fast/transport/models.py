"""botocore's session, handlers and data files, without what this package never uses.

botocore knows some 400 services and reads what it knows of all of them when it makes a client. Here
it is to know those that it needs to send and to find credentials. What is left out changes neither
endpoints nor requests; where botocore or its files are not of the expected form, all is read.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import DataNotFoundError
from botocore.hooks import EventAliaser, HierarchicalEmitter
from botocore.loaders import JSONFileLoader, Loader

from kinesis_fast.transport.botocore_session import handlers, session

# The target, and what botocore's sources of credentials call.
SERVICES: Final = ("kinesis", "signin", "sso", "sso-oidc", "sts")
# The same in endpoints.json, which names hosts.
HOSTS: Final = ("kinesis", "oidc", "portal.sso", "signin", "sts")
SERVICES_BEGIN: Final = '\n    "services" : {\n'
SERVICES_END: Final = "\n    }\n"
SERVICE_BEGIN: Final = '\n      "{}" : {{'
SERVICE_END: Final = "\n      }"


def new_session(profile: str | None) -> Any:
    """Return a session with the handlers of the services in use; it has its own loader still."""
    if not hasattr(handlers, "BUILTIN_HANDLERS"):
        return session.Session(profile=profile)
    hooks = copy.copy(_builtin_handlers())
    return session.Session(profile=profile, event_hooks=hooks, include_builtin_handlers=False)


@cache
def _builtin_handlers() -> HierarchicalEmitter:
    """Register what Session registers, in the same order; it takes a look at each signature."""
    emitter = HierarchicalEmitter()
    events = EventAliaser(emitter)
    register = {
        getattr(handlers, "REGISTER_FIRST", None): events.register_first,
        getattr(handlers, "REGISTER_LAST", None): events.register_last,
        None: events.register,
    }
    for name, handler, *when in handlers.BUILTIN_HANDLERS:
        if is_of_use(name):
            register[when[0] if when else None](name, handler)
    return emitter


def is_of_use(event: str) -> bool:
    """Tell whether an event is of a service in use, or of all; `docs` are for readers."""
    kind, _, rest = event.partition(".")
    service = rest.partition(".")[0]
    return kind != "docs" and (not service or "*" in service or service in SERVICES)


class LeanLoader(Loader):  # type: ignore[misc]  # botocore has no types
    """Loads data files of the services in use.

    Args:
        search_paths: where they are, the first one that has a file counts.
    """

    def __init__(self, search_paths: Iterable[str]) -> None:
        super().__init__(
            extra_search_paths=list(search_paths),
            file_loader=_LeanFiles(),
            include_default_search_paths=False,
        )

    def list_available_services(self, type_name: str) -> list[str]:
        """Return the services in use that have a file of a type; botocore would look at all."""
        return [name for name in SERVICES if self._has(name, type_name)]

    def _has(self, service: str, type_name: str) -> bool:
        try:
            return bool(self.list_api_versions(service, type_name))
        except DataNotFoundError:
            return False


class _LeanFiles(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    def load_file(self, file_path: str) -> Any:
        """Return the content of a file, None if there is none; see `Loader`."""
        path = Path(f"{file_path}.json")
        if path.name == "endpoints.json" and path.is_file():
            text = path.read_text("utf-8")
            return lean_endpoints(text) or json.loads(text)
        return super().load_file(file_path)


def lean_endpoints(text: str) -> Mapping[str, Any] | None:
    """Return the content of endpoints.json with the hosts in use, None if its form is unknown.

    What belongs to other services is neither parsed nor kept: that is 1.2 MB of text.

    Args:
        text: of the file.
    """
    pieces: list[str] = []
    end = 0
    while (begin := text.find(SERVICES_BEGIN, end)) >= 0:
        begin += len(SERVICES_BEGIN) - 1
        pieces.append(text[end:begin])
        end = text.find(SERVICES_END, begin)
        if end < 0:
            return None
        pieces.append(",".join(filter(None, (_service(text, begin, end, host) for host in HOSTS))))
    pieces.append(text[end:])
    try:
        lean: Mapping[str, Any] = json.loads("".join(pieces))
        partitions = lean["partitions"]
        is_known = all(host in partitions[0]["services"] for host in ("kinesis", "sts"))
    except (ValueError, LookupError, TypeError):
        return None
    return lean if is_known and 2 * len(partitions) + 1 == len(pieces) else None


def _service(text: str, begin: int, end: int, host: str) -> str | None:
    """Return what the file says about a host in text[begin:end], None if nothing."""
    at = text.find(SERVICE_BEGIN.format(host), begin, end)
    return text[at : text.index(SERVICE_END, at) + len(SERVICE_END)] if at >= 0 else None
