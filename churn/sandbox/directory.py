"""Finds profiles by any of their identifiers."""

from collections import defaultdict
from collections.abc import Iterator

from churn.sandbox.profiles import PRIMARY, SECONDARY, Key, Profile


class Directory:
    """An index over the profiles of a state.

    Other code may add profiles to the dict; the index is rebuilt if their number has
    changed.
    """

    def __init__(self, profiles: dict[Key, Profile]) -> None:
        self._profiles = profiles
        self._index: defaultdict[Key, list[Profile]] = defaultdict(list)
        self._n_indexed = 0

    def find(
        self,
        kind: str,
        value: str,
    ) -> Profile | None:
        """The profile of an identifier.

        If several share an e-mail address or phone number, it is the last updated one
        with an external_id, or the last updated one if none has an external_id.
        """
        if kind in PRIMARY and (kind, value) in self._profiles:
            return self._profiles[kind, value]
        if self._n_indexed != len(self._profiles):
            self._build()
        found = self._index.get((kind, value), [])
        return max(found, key=_priority, default=None)

    def add(
        self,
        key: Key,
        profile: Profile,
    ) -> None:
        """Add a new profile to the state and the index."""
        self._profiles[key] = profile
        self._n_indexed += 1
        self._insert_all(profile)

    def insert(
        self,
        profile: Profile,
        kind: str,
        value: str,
    ) -> None:
        """Add an identifier of a profile to the index."""
        self._index[kind, value].append(profile)

    def remove(
        self,
        profile: Profile,
        kind: str,
        value: str,
    ) -> None:
        """Remove an identifier of a profile from the index."""
        held = self._index[kind, value]
        others = [other for other in held if other is not profile]
        self._index[kind, value] = others

    def _build(self) -> None:
        self._index.clear()
        self._n_indexed = len(self._profiles)
        for profile in self._profiles.values():
            self._insert_all(profile)

    def _insert_all(self, profile: Profile) -> None:
        for kind, value in set(_keys(profile)):
            self.insert(profile, kind, value)


def _keys(profile: Profile) -> Iterator[Key]:
    yield "braze_id", profile.braze_id
    for kind, value in profile.identifiers.items():
        if kind not in SECONDARY:
            yield kind, value
    for kind in SECONDARY:
        if profile.fields.get(kind):
            yield kind, str(profile.fields[kind])


def _priority(profile: Profile) -> tuple[bool, int]:
    return "external_id" in profile.identifiers, profile.updated
