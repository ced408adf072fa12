"""Discovery: the files of all extracts of a study, each once."""

from churn.events.sources import find
from churn.events.sources.find import Found, Listing
from churn.settings import Settings


def discover(settings: Settings) -> Listing:
    """The files of all extracts, each once: see ``sources.find``.

    A file that several extracts find belongs to the last of those whose source gives
    files such names.
    """
    ready: dict[tuple[str, str], Found] = {}
    waiting: list[Found] = []
    passed_over: dict[str, Found] = {}
    for extract in settings.extracts:
        listing = find.find(extract, settings)
        for file in listing.ready:
            key = (file.address, file.stamp)
            if key not in ready or file.is_usual or not ready[key].is_usual:
                ready[key] = file
        waiting += listing.waiting
        passed_over |= {file.address: file for file in listing.passed_over}
    for file in [*ready.values(), *waiting]:
        passed_over.pop(file.address, None)
    return Listing(list(ready.values()), waiting, list(passed_over.values()))
