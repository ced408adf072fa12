"""All that a sandbox knows: profiles, the data-point ledger, the change log, and what
waits to be applied.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from churn.sandbox import profiles, values
from churn.sandbox.options import Options
from churn.sandbox.profiles import (
    CONTROL,
    FIELDS,
    NOT_CUSTOM,
    PRIMARY,
    SECONDARY,
    Change,
    Group,
    Key,
    Object,
    Profile,
)
from churn.sandbox.values import NotTakenError

MAX_NAME = 255
MAX_AGENTS = 100


@dataclass
class State:
    """What a sandbox knows. ``silent`` lists what was acknowledged and yet did
    nothing.
    """

    profiles: dict[Key, Profile] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    n_requests: int = 0
    n_tracked: int = 0
    n_refused: int = 0
    n_data_points: int = 0
    n_created: int = 0
    n_applied: int = 0
    options: Options = field(default_factory=Options)
    types: dict[str, str] = field(default_factory=dict)
    points: dict[str, Counter[str]] = field(default_factory=dict)  # run, then attribute
    run: str = "1"
    fired: dict[str, Counter[str]] = field(
        default_factory=dict
    )  # attribute, then why no trigger fired ("": it did)
    warnings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    user_agents: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Group] = field(default_factory=dict)
    changes: deque[Change] = field(init=False)
    waiting: list[tuple[float, int, list[Object], str]] = field(default_factory=list)
    _last_due: float = 0.0
    _n_queued: int = 0
    _index: dict[Key, list[Profile]] = field(default_factory=dict)
    _n_indexed: int = 0

    def __post_init__(self) -> None:
        """The log is bounded: its totals are counted beside it."""
        self.changes = deque(maxlen=self.options.change_log)

    def add_users(self, external_ids: list[str]) -> None:
        """Make profiles known, as if the app's SDK had."""
        for who in external_ids:
            self.profiles.setdefault(
                ("external_id", who), Profile({"external_id": who})
            )

    def attribute_values(self, name: str) -> dict[str, int]:
        """How many profiles hold each value of an attribute."""
        counts = Counter(values.shown(value) for value in self.values_of(name))
        return dict(sorted(counts.items()))

    def values_of(self, name: str) -> list[Any]:
        """The values of an attribute, one for each profile that holds it."""
        return [
            profile.attributes[name]
            for profile in self.profiles.values()
            if name in profile.attributes
        ]

    def points_by_attribute(self) -> Counter[str]:
        """Data points of each attribute over all runs."""
        return sum(self.points.values(), Counter())

    def start_run(self, name: str) -> None:
        """Book the data points from here on under another run."""
        self.run = name

    def count_agent(self, agent: str) -> None:
        """Note a User-Agent; only the first hundred kinds, so that nobody fills the
        memory.
        """
        if agent in self.user_agents or len(self.user_agents) < MAX_AGENTS:
            self.user_agents[agent] += 1

    def count_points(self, item: dict[str, Any]) -> None:
        """Book every write of an accepted object.

        Changed or not, removals too, and even where an update-only write finds nobody
        or a value is not taken: Braze counts what is sent, and does not say that it
        forgives those. The reading that costs most is the safe one.
        """
        book = self.points.setdefault(self.run, Counter())
        for name, value in item.items():
            if name not in NOT_CUSTOM and not self._dropped(name):
                cost = values.points(value)
                book[name] += cost
                self.n_data_points += cost

    def accept(self, objects: list[Object], group: str = "") -> None:
        """Take the valid objects of a request: now, or after the drawn delay."""
        now = self.options.clock()
        if group:
            self.groups.setdefault(group, Group(now)).received += 1
        if not self.options.apply_delay:
            self.apply_all(objects, group)
            return
        self._n_queued += 1
        drawn = random.Random(f"{self.options.seed}:{self._n_queued}:delay").random()
        due = now + self.options.apply_delay * drawn
        self._last_due = due if self.options.reorder else max(due, self._last_due)
        heapq.heappush(self.waiting, (self._last_due, self._n_queued, objects, group))

    def settle(self) -> None:
        """Apply what is due by now."""
        while self.waiting and self.waiting[0][0] <= self.options.clock():
            _, _, objects, group = heapq.heappop(self.waiting)
            self.apply_all(objects, group)

    def apply_all(self, objects: list[Object], group: str = "") -> list[Profile]:
        """Apply a request's objects in order; the profiles they reached."""
        spoilt = profiles.spoilt_in(objects)
        found = [self.apply(array, item, spoilt) for array, _, item in objects]
        if group:
            self.groups[group].done += 1
            self.groups[group].finished = self.options.clock()
        return [p for p in found if p]

    def apply(
        self, array: str, item: dict[str, Any], spoilt: dict[str, str]
    ) -> Profile | None:
        """Apply one object; None where it was to update somebody who isn't there."""
        kind, who = profiles.identity(item)
        profile = self.find(kind, who)
        if profile is None and profiles.updates_only(item, kind):
            self.silent.append("unknown user, update only")
            return None
        profile = profile or self._create(kind, who, item)
        self.n_applied += 1
        profile.updated = self.n_applied
        if array == "attributes":
            self._write(profile, item, spoilt)
        else:
            book, name = (
                (profile.events, "name")
                if array == "events"
                else (profile.purchases, "product_id")
            )
            profiles.happened(
                book,
                item[name],
                item.get("time"),
                self.options.clock(),
                item.get("quantity", 1),
            )
        return profile

    def find(self, kind: str, who: str) -> Profile | None:
        """The profile meant: of several that share an email, the last updated of those
        with an external_id.
        """
        if kind in PRIMARY and (kind, who) in self.profiles:
            return self.profiles[kind, who]
        if self._n_indexed != len(self.profiles):  # somebody put profiles in by hand
            self._index, self._n_indexed = {}, len(self.profiles)
            for profile in self.profiles.values():
                self._remember(profile)
        found = self._index.get((kind, who), ())
        return max(
            found,
            key=lambda p: ("external_id" in p.identifiers, p.updated),
            default=None,
        )

    def _create(self, kind: str, who: str, item: dict[str, Any]) -> Profile:
        if any(
            item.get(name) and self.find(name, str(item[name]))
            for name in SECONDARY
            if kind in PRIMARY
        ):
            self.warnings[
                "an unknown primary id with a known email or phone made a second profile"
            ] += 1
        profile = Profile({kind: who})
        key = (
            (kind, who)
            if (kind, who) not in self.profiles
            else (kind, f"{who} #{self.n_applied}")
        )
        self.profiles[key] = profile
        self.n_created += 1
        self._n_indexed += 1
        self._remember(profile)
        if kind in SECONDARY:
            self._set_field(profile, kind, who)
        return profile

    def _remember(self, profile: Profile) -> None:
        keys: Iterable[Key] = {
            *profile.identifiers.items(),
            ("braze_id", profile.braze_id),
        }
        fields = [
            (name, str(profile.fields[name]))
            for name in SECONDARY
            if profile.fields.get(name)
        ]
        for key in [*(k for k in keys if k[0] not in SECONDARY), *fields]:
            self._index.setdefault(key, []).append(profile)

    def _write(
        self, profile: Profile, item: dict[str, Any], spoilt: dict[str, str]
    ) -> None:
        merge = item.get("_merge_objects") is True
        for name, value in item.items():
            if name in CONTROL:
                continue
            if name in FIELDS:
                self._set_field(profile, name, value)
                continue
            try:
                if reason := self._dropped(name) or spoilt.get(name):
                    raise NotTakenError(reason)
                self._set(profile, name, value, merge)
            except NotTakenError as reason:
                self.silent.append(f"{name}: {reason}")
            except RecursionError:
                self.silent.append(f"{name}: nested too deep")

    def _set_field(self, profile: Profile, name: str, value: Any) -> None:
        old = profile.fields.pop(name, None)
        if name in SECONDARY and old:
            held = self._index.get((name, str(old)), [])
            self._index[name, str(old)] = [p for p in held if p is not profile]
        if value is not None:
            profile.fields[name] = value
            if name in SECONDARY:
                self._index.setdefault((name, str(value)), []).append(profile)

    def _dropped(self, name: str) -> str | None:
        if name in self.options.blocklist:
            return "on the blocklist"
        if name == "bio" or name.startswith("$"):
            return "a name that is dropped"
        return "a name over 255 characters" if len(name) > MAX_NAME else None

    def _set(self, profile: Profile, name: str, value: Any, merge: bool) -> None:
        old = profile.attributes.get(name)
        if value is None:
            profile.attributes.pop(name, None)
            self._log(profile, name, old, None)
            return
        new = values.stored(
            value, old, self.options, self.options.forced_types.get(name), merge
        )
        kind = values.type_of(new)
        known = self.options.forced_types.get(name) or self.types.setdefault(name, kind)
        if kind != known and new != []:  # an empty array is an array of anything
            raise NotTakenError(f"{kind} where the attribute is {known}")
        if isinstance(value, str) and len(value) > self.options.max_text:
            self.silent.append(
                f"{name}: text cut to {self.options.max_text} characters"
            )
        profile.attributes[name] = new
        self._log(profile, name, old, new)

    def _log(self, profile: Profile, name: str, old: Any, new: Any) -> None:
        fired, why = profiles.trigger(old, new)
        self.fired.setdefault(name, Counter())[why] += 1
        who = next(iter(profile.identifiers.values()))
        self.changes.append(
            Change(self.options.clock(), who, name, old, new, fired, why)
        )
