"""Removal of erased people from the files that were written for audiences."""

from collections.abc import Collection, Iterator

import polars as pl

from churn.audiences import files, formats, state
from churn.events import erasure
from churn.settings.audiences import Audience
from churn.store import Place, Store, locks

FORMS = ("sha256", "raw")


def forget(store: Store, users: Collection[str]) -> int:
    """Remove users from the files of audiences; the number of lines removed.

    Call it while the event log still holds their ids. Files of removals keep them,
    because the networks must still get them. For the same reason the state of an
    audience that is written as changes keeps them until the next export, which lists
    them as removed. Of audiences that the study no longer has, files and state are
    deleted. Raises BusyError while an export writes audiences.
    """
    with locks.exclusively(store.place, name=locks.AUDIENCES):
        known = {audience.name: audience for audience in store.settings.audiences}
        n_lines = 0
        for name in state.names(store.place):
            if name in known:
                n_lines += _removed(store, known[name], users)
            else:
                _delete(store, name)
        return n_lines


def _delete(store: Store, name: str) -> None:
    """Delete all files of an audience that the study no longer has, and its state."""
    for place in _places(state.read(store.place, name)):
        place.remove(*files.of_audience(place, name))
    state.remove(store.place, name)


def _removed(
    store: Store,
    audience: Audience,
    users: Collection[str],
) -> int:
    rows = state.read(store.place, audience.name)
    tags = pl.DataFrame({"tag": [erasure.USER + user for user in sorted(users)]})
    subjects = tags.select(erasure.hashed(store.salt, pl.col("tag"))).to_series()
    is_theirs = pl.col("subject").is_in(subjects.implode())
    values = {*rows.filter(is_theirs)["value"], *_ever_written(store, audience, users)}
    n_lines = 0
    for place in _places(rows):
        for file in files.of_audience(place, audience.name):
            if not files.is_removals(file):
                n_lines += files.without(place, file, values)
    if audience.content == "full":
        state.write(store.place, audience.name, rows.filter(~is_theirs))
    return n_lines


def _places(rows: pl.DataFrame) -> list[Place]:
    return [Place(target) for target in sorted(set(rows["target"]))]


def _ever_written(
    store: Store,
    audience: Audience,
    users: Collection[str],
) -> set[str]:
    """Every id of the users in every form in which it may have been written.

    The state has only their newest ids, in the present form; files of earlier nights
    may hold others.
    """
    edges = store.scan("edges").filter(pl.col("user_id").is_in(list(users)))
    ids = edges.select(pl.col("id").unique()).collect()["id"].to_list()
    tags = [*ids, *(f"customer_id:{user}" for user in users)]
    parts = pl.DataFrame({"tag": tags}).select(
        pl.col("tag").str.splitn(":", 2).struct.rename_fields(["id_type", "value"])
    )
    found: set[str] = set()
    for (id_type,), of_type in (
        parts.unnest("tag").partition_by("id_type", as_dict=True).items()
    ):
        for form in _forms(audience):
            cells = formats.written(form, str(id_type), pl.col("value"))
            found.update(of_type.select(cells).to_series().drop_nulls())
    return found


def _forms(audience: Audience) -> Iterator[Audience]:
    """The audience in all formats and forms, as the study may have had it before."""
    for name in formats.HEADERS:
        for form in FORMS:
            for plus in (False, True):
                changed = {"format": name, "form": form, "phone_plus": plus}
                yield audience.model_copy(update=changed)
