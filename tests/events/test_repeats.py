"""A file whose rows mostly stand in another one is that file delivered again."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from churn.errors import InputError

from .replaying import Life, content, same_as_fresh


def dump(first: int, last: int) -> str:
    """A table without event ids: two rows on each day of March, from first to last."""
    days = range(first, last + 1)
    rows = (f"u{user},open,2026-03-{day:02d}\n" for day in days for user in (1, 2))
    return "user_id,event,time\n" + "".join(rows)


def in_log(life: Life) -> list[str]:
    """Names of the files that the events of the log come from, each once."""
    events = life.store().scan("events").collect()
    return sorted(events["source_file"].unique())


def n_events(life: Life) -> int:
    """Number of events in the log."""
    return life.store().scan("events").collect().height


@pytest.mark.parametrize("together", [True, False])
def test_a_repeated_file_stops_the_ingest(tmp_path: Path, together: bool) -> None:
    """The sentence names both files and the key that decides, and the store stays as it
    was.
    """
    life = Life(tmp_path)
    life.write("2026-03.csv", dump(1, 9))
    if not together:
        life.ingest()
    life.write("2026-03 (1).csv", dump(1, 10))
    with pytest.raises(InputError, match=r"18 of its \d\d rows stand in") as caught:
        life.ingest()
    for text in ("2026-03.csv", "2026-03 (1).csv", 'repeats = "replace"', '"keep"'):
        assert text in str(caught.value)
    (life.raw / "2026-03 (1).csv").unlink()
    life.ingest()
    assert n_events(life) == 18


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("repeats", "names", "n"),
    [
        ("replace", ["2026-03 (1).csv"], 20),
        ("keep", ["2026-03 (1).csv", "2026-03.csv"], 38),
    ],
)
def test_the_study_says_what_a_browsers_copy_is(
    tmp_path: Path, together: bool, repeats: str, names: list[str], n: int
) -> None:
    """With "replace" the copy with a day more counts alone, with "keep" both count; and
    so it stays in later ingests.
    """
    life = Life(tmp_path, repeats=repeats)
    life.write("2026-03.csv", dump(1, 9))
    if not together:
        life.ingest()
    life.write("2026-03 (1).csv", dump(1, 10))
    life.ingest()
    assert (in_log(life), n_events(life)) == (names, n)
    for name in ("2026-03.csv", "2026-03 (1).csv"):
        life.touch(name)
        done = life.ingest()
        assert (done.n_added, done.n_removed) == (0, 0)
    assert (in_log(life), n_events(life)) == (names, n)
    same_as_fresh(life)


ORDERS = list(itertools.permutations((4, 5, 6, 7)))


@pytest.mark.parametrize("order", [*ORDERS[:3], *ORDERS[-3:]], ids=str)
@pytest.mark.parametrize("n_together", [1, 2, 4])
def test_of_cumulative_dumps_the_last_counts(
    tmp_path: Path, order: Sequence[int], n_together: int
) -> None:
    """Each dump has all rows before. Whatever the order of delivery, in one ingest or
    several, the log holds the rows of the last one, and a changed setting changes that
    no more than a second ingest.
    """
    life = Life(tmp_path, repeats="replace")
    for start in range(0, len(order), n_together):
        for last in order[start : start + n_together]:
            life.write(f"until-{last}.csv", dump(1, last))
        life.ingest()
    assert (in_log(life), n_events(life)) == (["until-7.csv"], 14)
    before = content(life.store())
    life.ingest()
    assert content(life.store()) == before
    same_as_fresh(life)
    life.change(kinds={"open": "session_start"})
    life.ingest()
    assert (in_log(life), n_events(life)) == (["until-7.csv"], 14)
    same_as_fresh(life)


def test_a_replaced_file_counts_again_once_the_other_is_different(
    tmp_path: Path,
) -> None:
    """If the newer delivery is overwritten with other rows, the older one is back."""
    life = Life(tmp_path, repeats="replace")
    life.write("a.csv", dump(1, 9))
    life.ingest()
    life.write("b.csv", dump(1, 10))
    life.ingest()
    life.write("b.csv", dump(10, 12))
    life.ingest()
    assert (in_log(life), n_events(life)) == (["a.csv", "b.csv"], 24)
    same_as_fresh(life)


def test_files_that_share_some_rows_keep_both(tmp_path: Path) -> None:
    """Up to half of the smaller file's rows may stand in another one."""
    life = Life(tmp_path)
    life.write("a.csv", dump(1, 6))
    life.write("b.csv", dump(4, 9))
    life.ingest()
    life.write("c.csv", dump(8, 11))
    life.ingest()
    assert n_events(life) == 12 + 12 + 8
    same_as_fresh(life)


def test_rows_with_an_event_id_are_no_repeats(tmp_path: Path) -> None:
    """They are compared by their id, one by one."""
    life = Life(tmp_path)
    header = "event_id,user_id,event,time\n"
    rows = [f"{n},u1,open,2026-03-01\n" for n in range(9)]
    life.write("a.csv", header + "".join(rows[:8]))
    life.ingest()
    life.write("b.csv", header + "".join(rows))
    assert life.ingest().n_added == 1
    same_as_fresh(life)


def test_a_replaced_file_may_be_renamed_over_the_newer_one(tmp_path: Path) -> None:
    """Its rows count again, though its content was known."""
    life = Life(tmp_path, repeats="replace")
    life.write("a.csv", dump(1, 4))
    life.write("b.csv", dump(1, 3))
    life.ingest()
    assert n_events(life) == 8
    life.rename("b.csv", "a.csv")
    life.ingest()
    assert n_events(life) == 6
    same_as_fresh(life)


def test_a_touched_file_is_replaced_like_any_other(tmp_path: Path) -> None:
    """A newer delivery also replaces a file whose time of change alone is new."""
    life = Life(tmp_path, repeats="replace")
    life.write("a.csv", dump(1, 4))
    life.write("b.csv", dump(1, 8))
    life.ingest()
    life.touch("b.csv")
    life.write("a.csv", dump(1, 9))
    life.ingest()
    assert (in_log(life), n_events(life)) == (["a.csv"], 18)
    same_as_fresh(life)
