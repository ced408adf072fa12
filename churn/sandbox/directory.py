"""Finds profiles by any of their identifiers."""

from collections.abc import Iterator

from churn.sandbox.profiles import PRIMARY, SECONDARY, Key, Profile


class Directory:
    """An index over the profiles of a state.

    Others may put profiles into the dict; the index is built again when their number
    has changed.
    """

    def __init__(self, profiles: dict[Key, Profile]) -> None:
        self._profiles = profiles
        self._index: dict[Key, list[Profile]] = {}
        self._n_indexed = 0

    def find(self, kind: str, value: str) -> Profile | None:
        """The profile of an identifier.

        Of several that share an e-mail or a phone number, it is the last updated one
        with an external_id, or without any such the last updated.
        """
        if kind in PRIMARY and (kind, value) in self._profiles:
            return self._profiles[kind, value]
        if self._n_indexed != len(self._profiles):
            self._build()
        return max(self._index.get((kind, value), ()), key=_priority, default=None)

    def add(self, key: Key, profile: Profile) -> None:
        """Take a new profile into the state and the index."""
        self._profiles[key] = profile
        self._n_indexed += 1
        self._insert(profile)

    def move(
        self, profile: Profile, kind: str, old: str | None, new: str | None
    ) -> None:
        """Note that an e-mail or a phone number of a profile has changed."""
        if old:
            held = self._index.get((kind, old), [])
            self._index[kind, old] = [other for other in held if other is not profile]
        if new is not None:
            self._index.setdefault((kind, new), []).append(profile)

    def _build(self) -> None:
        self._index = {}
        self._n_indexed = len(self._profiles)
        for profile in self._profiles.values():
            self._insert(profile)

    def _insert(self, profile: Profile) -> None:
        for key in set(_keys(profile)):
            self._index.setdefault(key, []).append(profile)


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
