"""`churn scores`: the layout of the table, which days it can be had for, and of whom."""

import io
import json
import logging
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from churn import forget, score_table
from churn.cli import app
from churn.errors import FAILED, CutoffError, StoreError, StudyError
from churn.events import ingest
from churn.settings import load, parse
from churn.store import Store, objects, open_filled

from .object_server import Server

LAYOUT = {
    "user_id": pl.String,
    "cutoff": pl.Date,
    "probability": pl.Float64,
    "score": pl.Int64,
    "segment": pl.String,
    "decile": pl.Int64,
    "reason_1": pl.String,
    "reason_2": pl.String,
    "reason_3": pl.String,
    "model_id": pl.String,
}
"""What other programs rely on: columns may be added at the end, and nothing else."""

DAY = date(2026, 3, 1)


def scored(cutoff: date = DAY, *users: str) -> pl.DataFrame:
    """Scores as they are stored; without users those of user-0 and user-1."""
    names = users or ("user-0", "user-1")
    return pl.DataFrame({"user_id": names}).with_columns(
        cutoff=pl.lit(cutoff),
        probability=pl.lit(0.1234567890123),
        score=pl.lit(12, pl.Int64),
        segment=pl.lit("low"),
        decile=pl.lit(4, pl.Int64),
        reason_1=pl.lit("safe_recency"),
        reason_2=pl.lit(None, pl.String),
        reason_3=pl.lit(None, pl.String),
        model_id=pl.lit("m1"),
        identifier=pl.col("user_id"),
    )


def keep(store: Store, table: pl.DataFrame) -> None:
    """Store scores as their file."""
    content = io.BytesIO()
    table.write_parquet(content)
    name = f"scores/cutoff={table['cutoff'][0]}.parquet"
    store.place.write(name, content.getvalue())


@pytest.fixture
def study(filled: Store) -> Path:
    """A study file over the small app with scores of one day."""
    keep(filled, scored())
    file = filled.settings.folder / "churn.toml"
    file.write_text(
        '[[extracts]]\nsource = "table"\npath = "events.parquet"\n'
        "[windows]\nobservation_days = 28\neligible_days = 14\nhorizon_days = 14\n"
    )
    return file


def opened(study: Path) -> Store:
    """The store of a study file."""
    return open_filled(load(study))


def run(study: Path, *arguments: str) -> Result:
    """What the command did; an error of ours is raised."""
    done = CliRunner().invoke(app, ["scores", "--study", str(study), *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_layout_is_the_same_in_every_format(study: Path, tmp_path: Path) -> None:
    """Names, order and types are those that other programs rely on."""
    table = score_table.read(opened(study))
    assert dict(table.schema) == LAYOUT
    csv = run(study).stdout
    assert csv.splitlines() == [
        ",".join(LAYOUT),
        "user-0,2026-03-01,0.1234567890123,12,low,4,safe_recency,,,m1",
        "user-1,2026-03-01,0.1234567890123,12,low,4,safe_recency,,,m1",
    ]
    lines = run(study, "--format", "ndjson").stdout.splitlines()
    first = json.loads(lines[0])
    assert (len(lines), list(first)) == (2, list(LAYOUT))
    assert first["cutoff"] == "2026-03-01"
    assert first["reason_2"] is None
    file = tmp_path / "out" / "scores.parquet"
    assert run(study, "--out", str(file)).stdout == ""
    assert pl.read_parquet(file).equals(table)


def test_scores_are_had_by_date_and_by_default_the_newest(study: Path) -> None:
    """--list names the days, oldest first; another day's error does so too."""
    keep(opened(study), scored(DAY - timedelta(days=90), "user-2"))
    assert run(study, "--list").stdout == "2025-12-01\n2026-03-01\n"
    old = run(study, "--cutoff", "2025-12-01").stdout.splitlines()
    assert [line.split(",")[:2] for line in old[1:]] == [["user-2", "2025-12-01"]]
    assert run(study).stdout.splitlines()[1].startswith("user-0,2026-03-01")
    sentence = "lie between 2025-12-01 and 2026-03-01, and `churn scores --list` names"
    with pytest.raises(CutoffError, match=sentence) as refused:
        run(study, "--cutoff", "2026-02-01")
    assert refused.value.exit_code == FAILED


def test_without_scores_the_list_is_empty_and_a_table_is_refused(study: Path) -> None:
    """The error says what to run first."""
    opened(study).place.remove(f"scores/cutoff={DAY}.parquet")
    assert run(study, "--list").stdout == ""
    with pytest.raises(CutoffError, match="run `churn run score` first"):
        run(study)


def test_scores_that_an_earlier_version_stored_have_the_same_layout(
    study: Path,
) -> None:
    """Columns that were added since are null, and the others are as they were."""
    added = ["decile", "reason_1", "reason_2", "reason_3", "identifier"]
    keep(opened(study), scored().drop(added))
    table = score_table.read(opened(study))
    assert dict(table.schema) == LAYOUT
    nulls = {name for name in LAYOUT if table[name].null_count() == table.height}
    assert nulls == {"decile", "reason_1", "reason_2", "reason_3"}
    assert (
        run(study).stdout.splitlines()[1]
        == "user-0,2026-03-01,0.1234567890123,12,low,,,,,m1"
    )


def test_nobody_is_in_the_table_who_was_erased(study: Path) -> None:
    """Not even where an interrupted erasure left the file of scores as it was."""
    forget.forget(load(study), ["user-0"])
    assert score_table.read(opened(study))["user_id"].to_list() == ["user-1"]
    keep(opened(study), scored())
    assert "user-0" not in run(study).stdout


def test_people_whose_erasure_a_vendor_reports_are_not_in_the_table(
    tmp_path: Path,
) -> None:
    """The vendor's row is enough, before anybody is erased here."""
    (tmp_path / "events.csv").write_text(
        "user_id,event,time\na,open,2026-02-01\nb,open,2026-02-01\n"
        "b,please_erase,2026-02-02\n"
    )
    extract = {
        "source": "table",
        "path": "events.csv",
        "kinds": {"please_erase": "erasure"},
    }
    settings = parse({"extracts": [extract]}, tmp_path)
    ingest.ingest(settings, progress=False)
    store = open_filled(settings)
    keep(store, scored(DAY, "a", "b"))
    assert score_table.read(store)["user_id"].to_list() == ["a"]


def test_a_table_goes_to_an_object_store(study: Path, server: Server) -> None:
    """In the format that the address ends in; without the bucket it is one sentence."""
    assert run(study, "--out", "s3://exports/crm/scores.ndjson").stdout == ""
    found = objects.get("s3://exports/crm/scores.ndjson")
    assert found is not None
    assert pl.read_ndjson(found[0])["user_id"].to_list() == ["user-0", "user-1"]
    with pytest.raises(StoreError, match=r"s3://none/s\.csv can't be reached"):
        run(study, "--out", "s3://none/s.csv")


def test_a_place_that_can_not_be_written_is_one_sentence(
    study: Path,
    tmp_path: Path,
) -> None:
    """A file where a folder should be: exit code 1, and the file is as it was."""
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    with pytest.raises(StoreError, match="can't be used") as refused:
        run(study, "--out", str(blocked / "scores.csv"))
    assert refused.value.exit_code == FAILED
    assert blocked.read_text() == "mine"


@pytest.mark.parametrize(
    ("command", "code", "errors"),
    [
        ("{churn} | head -1", 0, ""),
        (
            "{churn} > /dev/full",
            1,
            "churn: standard output can't be written (No space left on device)\n",
        ),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is a file of Linux")
def test_output_that_ends_early_leaves_no_traceback(
    study: Path,
    command: str,
    code: int,
    errors: str,
) -> None:
    """A reader such as head may close it, and a full disk is one sentence."""
    keep(opened(study), scored(DAY, *[f"user-{i}" for i in range(20_000)]))
    churn = f"{sys.executable} -m churn.cli scores --study {study}"
    done = subprocess.run(
        command.format(churn=churn),
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, errors)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cutoff", "yesterday"],
        ["--format", "xlsx"],
        ["--format", "parquet"],
        ["--out", "ftp://host/scores.csv"],
        ["--out", "s3://bucket"],
        ["--out", "s3://name:hidden@bucket/scores.csv"],
    ],
)
def test_wrong_usage_is_exit_code_2(study: Path, arguments: list[str]) -> None:
    """A date that is none, Parquet on a terminal, an address that can't be used."""
    done = run(study, *arguments)
    assert done.exit_code == 2
    assert "user-0" not in done.output
    assert "hidden" not in done.output


def test_no_user_is_in_the_log(
    study: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It holds the counts."""
    with caplog.at_level(logging.INFO):
        run(study, "--out", str(tmp_path / "scores.csv"))
    assert "score table: 2 of 2 users" in caplog.text
    assert "user-0" not in caplog.text


def test_scores_are_kept_for_as_long_as_is_promised() -> None:
    """Fewer days than 90 are refused; 0 keeps them for ever."""
    extracts = [{"source": "table", "path": "x"}]
    for days in (0, 90):
        kept = parse({"extracts": extracts, "scores": {"keep_days": days}}, Path())
        assert kept.scores.keep_days == days
    with pytest.raises(StudyError, match="keep_days must be at least 90"):
        parse({"extracts": extracts, "scores": {"keep_days": 89}}, Path())
