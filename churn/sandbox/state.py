"""The state of a sandbox: profiles, data points, attribute changes, and the requests
that wait to be applied.
"""

import heapq
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from churn.sandbox import data_points, nested, profiles, values
from churn.sandbox.directory import Directory
from churn.sandbox.options import Options
from churn.sandbox.profiles import (
    FIELDS,
    NOT_CUSTOM,
    PRIMARY,
    SECONDARY,
    Change,
    Group,
    History,
    Key,
    Profile,
    Sent,
)
from churn.sandbox.values import JsonObject, NotTakenError

MAX_NAME = 255
# Largest number of User-Agents that are counted, so that no client fills the memory.
MAX_AGENTS = 100
SECOND_PROFILE = (
    "an unknown primary id with a known email or phone made a second profile"
)


@dataclass
class State:
    """The state of a sandbox, which tests may read and add profiles to."""

    options: Options = field(default_factory=Options)
    profiles: dict[Key, Profile] = field(default_factory=dict)
    # The type of each attribute, fixed by its first value.
    types: dict[str, str] = field(default_factory=dict)
    n_requests: int = 0
    # Requests to the three endpoints that take data.
    n_tracked: int = 0
    n_refused: int = 0
    n_created: int = 0
    n_applied: int = 0
    n_data_points: int = 0
    run: str = "1"
    # Data points by run and attribute.
    points: dict[str, Counter[str]] = field(default_factory=dict)
    # Number of writes by attribute and the reason why no trigger fired; the reason is
    # "" if one fired.
    fired: dict[str, Counter[str]] = field(default_factory=dict)
    # The newest changes; ``fired`` counts all of them.
    changes: deque[Change] = field(init=False)
    # The reasons for which acknowledged writes had no effect.
    silent: list[str] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    user_agents: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Group] = field(default_factory=dict)
    # A heap of requests: when due, number, objects, group.
    waiting: list[tuple[float, int, list[Sent], str]] = field(default_factory=list)
    _directory: Directory = field(init=False)
    _last_due: float = 0.0
    _n_queued: int = 0

    def __post_init__(self) -> None:
        """Bound the log of changes, and index the profiles."""
        self.changes = deque(maxlen=self.options.change_log)
        self._directory = Directory(self.profiles)

    def add_users(self, external_ids: list[str]) -> None:
        """Create profiles as the app's SDK would."""
        for external_id in external_ids:
            profile = Profile({"external_id": external_id})
            self.profiles.setdefault(("external_id", external_id), profile)

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
        """Count data points under this run from now on."""
        self.run = name

    def count_agent(self, agent: str) -> None:
        """Count a request's User-Agent."""
        if agent in self.user_agents or len(self.user_agents) < MAX_AGENTS:
            self.user_agents[agent] += 1

    def count_points(self, item: JsonObject) -> None:
        """Count the data points of an accepted object.

        A write counts whether or not it changes the value, and even if an update-only
        write finds no user or the value is rejected. Braze counts what is sent, and its
        documents name no exceptions, so this is the safe, highest estimate.
        """
        counts = self.points.setdefault(self.run, Counter())
        for name, value in item.items():
            if name in NOT_CUSTOM or self._reason_to_drop(name):
                continue
            cost = data_points.cost(value)
            counts[name] += cost
            self.n_data_points += cost

    def accept(self, objects: list[Sent], group: str = "") -> None:
        """Apply a request's valid objects: now, or after the delay drawn for it."""
        options = self.options
        now = options.clock()
        if group:
            entry = self.groups.setdefault(group, Group(now))
            entry.received += 1
        if not options.apply_delay:
            self.apply_all(objects, group)
            return
        self._n_queued += 1
        seed = f"{options.seed}:{self._n_queued}:delay"
        share = random.Random(seed).random()
        due = now + options.apply_delay * share
        if not options.reorder:
            due = max(due, self._last_due)
        self._last_due = due
        heapq.heappush(self.waiting, (due, self._n_queued, objects, group))

    def settle(self) -> None:
        """Apply the requests that are due by now."""
        while self.waiting and self.waiting[0][0] <= self.options.clock():
            _, _, objects, group = heapq.heappop(self.waiting)
            self.apply_all(objects, group)

    def apply_all(self, objects: list[Sent], group: str = "") -> list[Profile]:
        """Apply a request's objects in order; returns the profiles written to."""
        lost = profiles.lost_updates(objects)
        reached = [self.apply(sent, lost) for sent in objects]
        if group:
            entry = self.groups[group]
            entry.done += 1
            entry.finished = self.options.clock()
        return [profile for profile in reached if profile]

    def apply(self, sent: Sent, lost: dict[str, str]) -> Profile | None:
        """Apply one object; returns None if an update-only write finds no profile.

        ``lost`` names the attributes whose nested updates this request loses.
        """
        item = sent.item
        kind, value = profiles.identity(item)
        profile = self.find(kind, value)
        if profile is None:
            if profiles.updates_only(item, kind):
                self.silent.append("unknown user, update only")
                return None
            profile = self._create(kind, value, item)
        self.n_applied += 1
        profile.updated = self.n_applied
        if sent.array == "attributes":
            self._write(profile, item, lost)
            return profile
        if sent.array == "events":
            history = profile.events.setdefault(item["name"], History())
        else:
            history = profile.purchases.setdefault(item["product_id"], History())
        now = self.options.clock()
        history.add(item.get("time"), now, item.get("quantity", 1))
        return profile

    def find(self, kind: str, value: str) -> Profile | None:
        """The profile of an identifier."""
        return self._directory.find(kind, profiles.in_one_form(kind, value))

    def _create(self, kind: str, value: str, item: JsonObject) -> Profile:
        if kind in PRIMARY and self._shares_address(item):
            self.warnings[SECOND_PROFILE] += 1
        profile = Profile({kind: value})
        key = (kind, value)
        if key in self.profiles:
            key = (kind, f"{value} #{self.n_applied}")
        self._directory.add(key, profile)
        self.n_created += 1
        if kind in SECONDARY:
            self._set_field(profile, kind, value)
        return profile

    def _shares_address(self, item: JsonObject) -> bool:
        for name in SECONDARY:
            if item.get(name) and self.find(name, str(item[name])):
                return True
        return False

    def _write(self, profile: Profile, item: JsonObject, lost: dict[str, str]) -> None:
        merge = item.get("_merge_objects") is True
        for name, value in item.items():
            if name in FIELDS:
                self._set_field(profile, name, value)
            if name in NOT_CUSTOM:
                continue
            reason = self._reason_to_drop(name) or lost.get(name)
            if reason is None:
                reason = self._set(profile, name, value, merge)
            if reason:
                self.silent.append(f"{name}: {reason}")

    def _set_field(self, profile: Profile, name: str, value: Any) -> None:
        old = profile.fields.pop(name, None)
        if isinstance(value, str):
            value = profiles.in_one_form(name, value)
        if value is not None:
            profile.fields[name] = value
        if name not in SECONDARY:
            return
        if old:
            self._directory.remove(profile, name, str(old))
        if value is not None:
            self._directory.insert(profile, name, str(value))

    def _reason_to_drop(self, name: str) -> str | None:
        if name in self.options.blocklist:
            return "on the blocklist"
        if name == "bio" or name.startswith("$"):
            return "a name that is dropped"
        if len(name) > MAX_NAME:
            return f"a name over {MAX_NAME} characters"
        return None

    def _set(self, profile: Profile, name: str, value: Any, merge: bool) -> str | None:
        """Write an attribute; returns the reason if it had no effect or was cut."""
        old = profile.attributes.get(name)
        if value is None:
            profile.attributes.pop(name, None)
            self._log(profile, name, old, None)
            return None
        try:
            new = self._stored(name, value, old, merge)
            self._check_type(name, new)
        except NotTakenError as reason:
            return str(reason)
        except RecursionError:
            return "nested too deep"
        profile.attributes[name] = new
        self._log(profile, name, old, new)
        if isinstance(value, str) and len(value) > self.options.max_text:
            return f"text cut to {self.options.max_text} characters"
        return None

    def _stored(self, name: str, value: Any, old: Any, merge: bool) -> Any:
        if isinstance(value, dict):
            return nested.from_object(value, old, self.options, merge)
        if isinstance(value, list):
            return nested.from_array(value, self.options)
        forced = self.options.forced_types.get(name)
        return values.scalar(value, self.options, forced)

    def _check_type(self, name: str, new: Any) -> None:
        kind = values.type_of(new)
        forced = self.options.forced_types.get(name)
        known = forced or self.types.setdefault(name, kind)
        # An empty array is an array of scalars as well as of objects.
        if kind != known and new != []:
            raise NotTakenError(f"{kind} where the attribute is {known}")

    def _log(self, profile: Profile, name: str, old: Any, new: Any) -> None:
        fired, reason = profiles.trigger(old, new)
        self.fired.setdefault(name, Counter())[reason] += 1
        change = Change(
            at=self.options.clock(),
            who=next(iter(profile.identifiers.values())),
            name=name,
            old=old,
            new=new,
            fired=fired,
            why=reason,
        )
        self.changes.append(change)
