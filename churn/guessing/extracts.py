"""The files of a folder as extracts of one study."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events.sources import formats
from churn.guessing import files
from churn.guessing.files import Guess
from churn.settings import Extract

NO_EXPORT = "its name isn't that of an export"

MOST_SAMPLED = 5
"""Number of files of one folder and format that are read."""


@dataclass(frozen=True)
class Proposal:
    """One extract for a study, and what was read for it.

    ``extract``: its path is that of a file, or a pattern or a folder for several.
    ``rows``: canonical events of the sample. ``n_files``: files that it covers, and
    ``n_sampled``: those that were read. ``is_whole``: whether no row was left unread.
    """

    extract: Extract
    rows: pl.DataFrame
    n_files: int
    n_sampled: int
    is_whole: bool


@dataclass(frozen=True)
class Found:
    """What a folder holds: extracts, and the files that can't be read, with a reason."""

    proposals: list[Proposal]
    unreadable: dict[Path, str]


def of_folder(folder: Path) -> Found:
    """The extracts in a folder, or in the one file that it is.

    Files of one folder and format are one extract if the same settings read them.
    Raises InputError if there is no such folder, or nothing in it that can be read.
    """
    if not folder.exists():
        raise InputError(f"there is no folder {folder}")
    folder = folder.resolve()
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file in _files(folder):
        groups[file.parent, _ending(file)].append(file)
    proposals: list[Proposal] = []
    unreadable: dict[Path, str] = {}
    for (place, ending), members in groups.items():
        guesses = _guesses(members, unreadable)
        readable = [file for file in members if file not in unreadable]
        proposals += _proposals(place, ending, readable, guesses, unreadable)
    if not any(one.rows.height for one in proposals):
        raise InputError(_nothing(folder, unreadable))
    return Found(_joined(proposals, folder), unreadable)


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder but hidden ones, in order of their names."""
    if folder.is_file():
        yield folder
        return

    def refused(error: OSError) -> None:
        raise InputError(
            f"{error.filename} can't be read: {error.strerror}; give this user the "
            "right to read it"
        ) from error

    for place, below, names in os.walk(folder, onerror=refused):
        below[:] = sorted(name for name in below if not name.startswith((".", "_")))
        for name in sorted(names):
            if not name.startswith((".", "_")):
                yield Path(place, name)


def _ending(file: Path) -> str:
    """Format and packing of a file, as its name states them; ".csv.gz" for example."""
    name = file.name.lower()
    packing = next((end for end in formats.PACKINGS if name.endswith(end)), "")
    return Path(name.removesuffix(packing)).suffix + packing


def _guesses(
    members: Sequence[Path],
    unreadable: dict[Path, str],
) -> list[Guess]:
    """How the first, the last and some files between are to be read."""
    step = max(1, -(-(len(members) - 1) // (MOST_SAMPLED - 1)))
    sampled = dict.fromkeys([*members[::step], members[-1]])
    made = []
    for file in sampled:
        found = files.guess(file) if _is_export(file) else NO_EXPORT
        if isinstance(found, str):
            unreadable[file] = found
        else:
            made.append(found)
    return made


def _is_export(file: Path) -> bool:
    return formats.of_name(file.name) in {*formats.SUFFIXES, formats.UNSTATED}


def _proposals(
    place: Path,
    ending: str,
    members: Sequence[Path],
    guesses: Sequence[Guess],
    unreadable: Iterable[Path],
) -> Iterator[Proposal]:
    """One extract for all files if the same settings read them, else one a file.

    Files among them that can't be read are ignored by their names.
    """
    if not guesses:
        return
    first = guesses[0].extract
    is_alike = all(_settings(one.extract) == _settings(first) for one in guesses)
    if len(members) == 1 or not is_alike:
        for one in guesses:
            yield _proposal(one.extract.path, [one], 1)
        return
    others = [file for file in unreadable if file.parent == place]
    ignored = tuple(file.name for file in others if _ending(file) == ending)
    path = str(place / f"*{ending}")
    yield _proposal(path, guesses, len(members), ignored)


def _proposal(
    path: str,
    guesses: Sequence[Guess],
    n_files: int,
    ignored: tuple[str, ...] = (),
) -> Proposal:
    new = {"path": path, "ignore": ignored}
    return Proposal(
        guesses[0].extract.model_copy(update=new),
        pl.concat([one.rows for one in guesses]),
        n_files,
        len(guesses),
        len(guesses) == n_files and all(one.is_whole for one in guesses),
    )


def _settings(extract: Extract) -> dict[str, object]:
    return extract.model_dump(exclude={"path", "ignore"})


def _joined(
    proposals: Iterable[Proposal],
    folder: Path,
) -> list[Proposal]:
    """Extracts with the same settings as one, with the folder that holds only them."""
    groups: dict[str, list[Proposal]] = defaultdict(list)
    for one in proposals:
        groups[repr(_settings(one.extract))].append(one)
    joined = []
    for group in groups.values():
        others = [p for other in groups.values() if other is not group for p in other]
        place = _highest(group, others, folder)
        if place is None:
            joined += group
        else:
            joined.append(_together(group, place))
    return joined


def _highest(
    group: Sequence[Proposal],
    others: Sequence[Proposal],
    folder: Path,
) -> Path | None:
    """The highest folder that holds a group and no other extract; null if none does.

    New files may come to folders of their own, so that a higher folder is better. A
    single file stays by itself.
    """
    if group[0].n_files == 1 and len(group) == 1:
        return None
    lowest = Path(os.path.commonpath([Path(p.extract.path).parent for p in group]))
    above = [lowest, *lowest.parents]
    free = [
        place
        for place in above[: above.index(folder) + 1]
        if not any(_is_below(other, place) for other in others)
    ]
    return free[-1] if free else None


def _together(
    group: Sequence[Proposal],
    place: Path,
) -> Proposal:
    ignored = tuple(name for one in group for name in one.extract.ignore)
    new = {"path": str(place), "ignore": ignored}
    return Proposal(
        group[0].extract.model_copy(update=new),
        pl.concat([one.rows for one in group]),
        sum(one.n_files for one in group),
        sum(one.n_sampled for one in group),
        all(one.is_whole for one in group),
    )


def _is_below(
    proposal: Proposal,
    place: Path,
) -> bool:
    return Path(proposal.extract.path).is_relative_to(place)


def _nothing(
    folder: Path,
    unreadable: dict[Path, str],
) -> str:
    """Why nothing in a folder can be read, with a reason for a few of its files."""
    if not unreadable:
        return (
            f"{folder} holds no files; put the exports of your analytics tool there: "
            f"names end in {formats.endings(tuple(formats.SUFFIXES))}"
        )
    reasons = [f"  {path.name}: {why}" for path, why in unreadable.items()]
    more = [f"  and {len(reasons) - 5} more files"] if len(reasons) > 5 else []
    text = "\n".join([*reasons[:5], *more])
    return f"nothing in {folder} can be read as events:\n{text}"
