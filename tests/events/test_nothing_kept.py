"""A file of which no row can be kept stops the ingest, and every such file is named."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from churn import forget
from churn.cli import app
from churn.errors import ChurnError, InputError
from churn.events import ingest
from churn.settings import Settings
from churn.store import open_filled

NOW = datetime(2026, 3, 20, tzinfo=UTC)
HEADER = "user_id,event,time,consent\n"
GOOD = f"{HEADER}a,open,2026-03-01,1\n"
SPELLED_OUT = f"{HEADER}a,open,the 1st of March,1\nb,open,the 2nd of March,1\n"

Make = Callable[..., Settings]


def study_over(folder: Path, make_study: Make, **files: str) -> Settings:
    """A study over CSV files of these names and contents."""
    (folder / "raw").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"raw/{name}.csv").write_text(text)
    return make_study(extracts=[{"source": "table", "path": "raw"}])


def refusal(settings: Settings) -> str:
    """What the ingest says when it refuses to go on."""
    with pytest.raises(InputError) as caught:
        ingest.ingest(settings, NOW, progress=False)
    return str(caught.value)


def n_added(settings: Settings) -> int:
    """Events that an ingest adds."""
    return ingest.ingest(settings, NOW, progress=False).n_added


def test_every_unreadable_file_is_named_and_nothing_is_stored(
    tmp_path: Path, make_study: Make
) -> None:
    """Two of three files: both are named with reason and example. The good one is read
    once they are gone, since nothing was marked as known.
    """
    settings = study_over(
        tmp_path, make_study, a=GOOD, b=SPELLED_OUT, c=SPELLED_OUT.replace("a,", "c,")
    )
    said = refusal(settings).splitlines()
    expected = "none of its 2 row(s) can be kept (unreadable_time: 2, such as 'the 1st"
    assert [line.startswith(str(tmp_path / "raw")) for line in said[:-1]] == [True] * 2
    assert all(expected in line for line in said[:-1])
    with pytest.raises(ChurnError):
        open_filled(settings)
    for name in "bc":
        (tmp_path / f"raw/{name}.csv").write_text(GOOD.replace("a,", f"{name},"))
    assert n_added(settings) == 3


def test_a_refused_file_leaves_the_store_as_it_was(
    tmp_path: Path, make_study: Make
) -> None:
    """What was ingested before stays, also if the refused file replaces a good one."""
    settings = study_over(tmp_path, make_study, a=GOOD, b=GOOD.replace("a,", "b,"))
    assert n_added(settings) == 2
    before = open_filled(settings).versions
    study_over(tmp_path, make_study, b=SPELLED_OUT)
    assert "b.csv" in refusal(settings)
    assert open_filled(settings).versions == before
    assert open_filled(settings).n_rows("events") == 2


def test_the_command_line_fails(tmp_path: Path, make_study: Make) -> None:
    """A scheduler sees no success."""
    study_over(tmp_path, make_study, a=SPELLED_OUT)
    study = tmp_path / "churn.toml"
    study.write_text('[[extracts]]\nsource = "table"\npath = "raw"\n')
    done = CliRunner().invoke(app, ["ingest", "--study", str(study), "--no-progress"])
    assert isinstance(done.exception, InputError)


def test_many_such_files_are_counted(tmp_path: Path, make_study: Make) -> None:
    """Ten are named, and the others are counted."""
    files = {f"f{i}": SPELLED_OUT.replace("a,", f"{i},") for i in range(13)}
    said = refusal(study_over(tmp_path, make_study, **files)).splitlines()
    assert (len(said), said[-2]) == (12, "and 3 more such files")


def test_an_example_shows_no_personal_data(tmp_path: Path, make_study: Make) -> None:
    """If the time is mapped to a column of addresses, none of them is shown."""
    said = refusal(
        study_over(tmp_path, make_study, a=f"{HEADER}u1,open,ann@example.org,1\n")
    )
    assert "[removed]" in said
    assert "ann" not in said


def test_rows_that_were_read_well_are_no_reason_to_stop(
    tmp_path: Path, make_study: Make
) -> None:
    """No rows, duplicates only, refused consent, forgotten people, one bad row beside
    one without consent: each such file is known from then on.
    """
    settings = study_over(
        tmp_path,
        make_study,
        none=HEADER,
        first=GOOD,
        copy=GOOD,
        refused=f"{HEADER}b,open,2026-03-01,0\n",
        mixed=f"{HEADER}b,open,2026-03-02,0\nb,open,soon,1\n",
    )
    assert n_added(settings) == 1
    forget.forget(settings, ["a"])
    study_over(tmp_path, make_study, again=GOOD.replace("03-01", "03-02"))
    done = ingest.ingest(settings, NOW, progress=False)
    assert (done.n_added, dict(done.reasons.iter_rows())) == (0, {"forgotten": 1})
    assert ingest.ingest(settings, NOW, progress=False).n_new_files == 0


def test_a_few_rows_may_all_be_odd_but_not_many(
    tmp_path: Path, make_study: Make
) -> None:
    """Three rows of a device with a wrong clock are quarantined; twenty mean that the
    file's times are misread.
    """
    ahead = NOW + timedelta(days=300)
    rows = [f"u{i},open,{ahead:%F},1\n" for i in range(20)]
    few = study_over(tmp_path, make_study, few=HEADER + "".join(rows[:3]))
    done = ingest.ingest(few, NOW, progress=False)
    assert dict(done.reasons.iter_rows()) == {"in_the_future": 3}
    many = study_over(tmp_path, make_study, many=HEADER + "".join(rows))
    assert "in_the_future: 20, such as '2027-01-14" in refusal(many)


def test_a_file_without_events_can_be_ignored(tmp_path: Path, make_study: Make) -> None:
    """The error names the setting, by which the other files are read."""
    settings = study_over(tmp_path, make_study, a=GOOD, b=SPELLED_OUT)
    assert "can be listed under ignore" in refusal(settings)
    extract = {"source": "table", "path": "raw", "ignore": ["b.csv"]}
    assert n_added(make_study(extracts=[extract])) == 1


@pytest.mark.parametrize("source", ["amplitude", "ga4", "mixpanel", "segment"])
def test_a_json_error_under_an_exports_name_is_refused(
    tmp_path: Path, make_study: Make, source: str
) -> None:
    """One object that is no event stops the ingest."""
    error = {"error": {"code": 429, "message": "Too many requests"}}
    (tmp_path / "events_20260308.json").write_text(json.dumps(error))
    settings = make_study(extracts=[{"source": source, "path": "*.json"}])
    assert "none of its 1 row(s)" in refusal(settings)
