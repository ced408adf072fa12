"""Patterns of paths, in which ``*`` stands for one level and ``**`` for any number."""

import fnmatch
import glob
import itertools
from collections.abc import Sequence
from pathlib import PurePath


def fixed_parts(path: PurePath) -> list[str]:
    """The folders before the first one with a wildcard."""
    return list(
        itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
    )


def matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Match as glob does: ``*`` within one folder, ``**`` any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**" and matches(path, pattern[1:]):
        return True
    if not path:
        return False
    if pattern[0] == "**":
        return matches(path[1:], pattern)
    is_match = fnmatch.fnmatchcase(path[0], pattern[0])
    return is_match and matches(path[1:], pattern[1:])
