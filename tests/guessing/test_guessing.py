"""A study guessed from a folder of extracts."""

import gzip
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.errors import InputError, StudyError
from churn.events import ingest
from churn.guessing import columns, extracts, files, study
from churn.receive import postback
from churn.settings import load

from ..conftest import SHARED, random_log, unavailable


def table(
    folder: Path, text: str, name: str = "events.csv", encoding: str = ""
) -> Path:
    """A file of text in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding=encoding or "utf-8")
    return folder


def settings_of(folder: Path) -> dict[str, object]:
    """The settings of the only extract found that aren't defaults, without its path."""
    (one,) = extracts.of_folder(folder).proposals
    return one.extract.model_dump(exclude={"path"}, exclude_defaults=True)


def test_columns_are_found_by_name_and_by_content() -> None:
    """Usual names in any spelling; a column of another name by what it holds."""
    sample = {
        "Customer ID": ["7", "8"],
        "Was": ["gekauft", "gesehen"],
        "eventType": ["buy", "look"],
        "wann": ["2026-01-02 10:00", "2026-01-03 11:00"],
        "Umsatz": ["1.0", "2.0"],
    }
    assert columns.mapped(sample) == {
        "user_id": "Customer ID",
        "event": "eventType",
        "time": "wann",
    }


@pytest.mark.parametrize("values", [["2026-01-31"], ["1767225600000"], ["31.01.2026"]])
def test_times_are_known_in_many_forms(values: list[str]) -> None:
    """ISO 8601, seconds and milliseconds since 1970, and as countries write them."""
    assert columns.are_times(values)
    assert not columns.are_times(["17", "2026", "a day"])


def test_a_name_that_holds_something_else_is_passed_over() -> None:
    """A column called `time` with minutes in it is no time."""
    sample = {"user": ["a", "b"], "event": ["x"], "time": ["12"], "at": ["2026-01-02"]}
    assert columns.mapped(sample)["time"] == "at"


def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """Semicolons, decimal commas, German dates and umlauts of Windows."""
    text = "Kunde;Aktion;Datum;amount\n"
    rows = [f"k{i};Käufe;{i + 13}.01.2026;3,5\n" for i in range(9)]
    table(tmp_path, text + "".join(rows), encoding="cp1252")
    (tmp_path / "events.csv").write_text(
        (text + "".join(rows)).replace("Kunde", "customer").replace("Aktion", "event"),
        encoding="cp1252",
    )
    found = extracts.of_folder(tmp_path).proposals[0]
    assert found.extract.encoding == "cp1252"
    assert found.rows["event"].unique().to_list() == ["käufe"]
    assert found.rows["revenue"].to_list() == [3.5] * 9
    assert found.rows["fault"].null_count() == 9


def test_files_of_one_kind_are_one_extract_and_others_their_own(tmp_path: Path) -> None:
    """A folder of daily files is a pattern; a folder with two tables is two extracts;
    what is no table of events is ignored by name.
    """
    header = "user_id,event,time\n"
    for day in range(1, 8):
        row = f"u{day},open,2026-03-0{day} 10:00:00\n"
        table(tmp_path / "days", header + row, f"{day}.csv")
    table(tmp_path / "two", header + "u1,open,2026-03-01\n", "a.csv")
    table(tmp_path / "two", "uid,what,at\nu1,buy,2026-03-01\n", "b.csv")
    table(tmp_path / "days", "id,name\n1,Ann\n", "people.csv")
    table(tmp_path, "what it is", "README.md")
    found = extracts.of_folder(tmp_path)
    by_path = {one.extract.path: one for one in found.proposals}
    assert set(by_path) == {
        str(tmp_path / "days/*.csv"),
        str(tmp_path / "two/a.csv"),
        str(tmp_path / "two/b.csv"),
    }
    days = by_path[str(tmp_path / "days/*.csv")]
    assert days.extract.ignore == ("people.csv",)
    assert (days.n_files, days.n_sampled < 7) == (7, True)
    assert {path.name for path in found.unreadable} == {"people.csv", "README.md"}


def test_a_study_file_is_short_and_is_read(tmp_path: Path) -> None:
    """It holds what isn't a default, with paths from its own folder, and ingests."""
    log = random_log(60, 40).rename({"user_id": "customer", "time": "at"})
    raw = tmp_path / "raw"
    raw.mkdir()
    log.write_csv(raw / "events.csv")
    proposals = extracts.of_folder(raw).proposals
    file = tmp_path / "churn.toml"
    file.write_text(study.text(proposals, file), encoding="utf-8")
    assert 'path = "raw/events.csv"' in file.read_text()
    assert len(file.read_text().splitlines()) <= 20
    arrived = ingest.ingest(load(file), progress=False)
    assert arrived.totals["kept"] == log.height


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("event,time\nopen,2026-03-01\n", "no column for user_id among event, time"),
        ("user_id,event\na,open\n", "no column for time among user_id, event"),
        ("", "is empty"),
        ("just a text\n", "no column for user_id and event and time"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, text: str, says: str) -> None:
    """An input that can't be read names its file, what was seen and what is needed."""
    table(tmp_path, text)
    with pytest.raises(InputError, match=f"(?s)nothing in .* events.csv: .*{says}"):
        extracts.of_folder(tmp_path)


def test_bad_folders_are_one_sentence(tmp_path: Path) -> None:
    """No folder, an empty one, and one with pictures only."""
    with pytest.raises(InputError, match="there is no folder"):
        extracts.of_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no files"):
        extracts.of_folder(tmp_path)
    (tmp_path / "a.png").write_bytes(os.urandom(100))
    with pytest.raises(InputError, match="its name isn't that of an export"):
        extracts.of_folder(tmp_path)


def test_junk_under_a_good_name_is_no_traceback(tmp_path: Path) -> None:
    """Random bytes called .parquet, .csv, .json, .avro and .zip."""
    for ending in ("parquet", "csv", "json", "avro", "zip", "csv.gz"):
        (tmp_path / f"junk.{ending}").write_bytes(os.urandom(3000))
    with pytest.raises(InputError, match="nothing in"):
        extracts.of_folder(tmp_path)


def test_a_wide_parquet_and_a_zip_are_read(tmp_path: Path) -> None:
    """300 columns, and an archive of CSV."""
    log = random_log(30, 20)
    noise = {f"c{i}": pl.Series([i] * log.height) for i in range(300)}
    log.with_columns(**noise).write_parquet(tmp_path / "wide.parquet")
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("log.csv", log.write_csv())
    found = extracts.of_folder(tmp_path)
    (one,) = found.proposals
    assert (one.n_files, one.rows.height) == (2, 2 * log.height)


def test_what_is_uncertain_is_said(tmp_path: Path) -> None:
    """Times without a zone, amounts without a currency, events that happen to a person,
    too few users and days.
    """
    rows = "u1,push_received,2026-03-01 10:00:00,5\nu2,open,2026-03-02 10:00:00,\n"
    table(tmp_path, f"user_id,event,time,revenue\n{rows}")
    said = " ".join(study.doubts(extracts.of_folder(tmp_path).proposals))
    for part in ("carry no zone", "No currency", "only 2 users", "Days in the log: 2"):
        assert part in said


def test_the_commonest_currency_is_the_studys(tmp_path: Path) -> None:
    """Amounts in others are counted, not summed, so it matters."""
    rows = [f"u{i},buy,2026-03-01,5,{c}\n" for i, c in enumerate(["EUR"] * 3 + ["USD"])]
    table(tmp_path, "user_id,event,time,revenue,currency\n" + "".join(rows))
    assert study.currency(extracts.of_folder(tmp_path).proposals) == "EUR"


def test_received_postbacks_are_the_source_that_their_folder_names(
    tmp_path: Path,
) -> None:
    """Each vendor's folder becomes one extract, though others could read its rows."""
    now = datetime(2026, 3, 8, 2, 14, 9, tzinfo=UTC)
    adjust = "adid=a&activity_kind=session&created_at=1772936045&event_time=1772936045"
    kochava = f"{adjust}&event_name=a&kochava_device_id=k"
    for source, query in (("adjust", adjust), ("kochava", kochava)):
        for hour in (2, 3):
            folder = tmp_path / source / f"t=r/dt=2026-03-08/h={hour}"
            folder.mkdir(parents=True)
            packed = gzip.compress(postback.lines(b"", query, now))
            (folder / "a.postbacks.ndjson.gz").write_bytes(packed)
    found = extracts.of_folder(tmp_path).proposals
    assert [(one.extract.source, Path(one.extract.path).name) for one in found] == [
        ("adjust", "adjust"),
        ("kochava", "kochava"),
    ]


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("adjust", "adjust"),
        ("amplitude", "amplitude"),
        ("appsflyer", "appsflyer"),
        ("branch", "branch"),
        ("braze_currents", "currents"),
        ("ga4", "ga4"),
    ],
)
def test_vendors_are_recognised(folder: str, source: str) -> None:
    """Their whole folder becomes one extract, so that new files are found as well."""
    place = SHARED / "samples" / folder
    if not place.is_dir():
        unavailable("the vendors' samples aren't here")
    found = extracts.of_folder(place)
    (one,) = found.proposals
    assert (one.extract.source, one.extract.path) == (source, str(place.resolve()))
    assert not found.unreadable


def test_a_file_is_guessed_from_its_first_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more of it is read than is needed."""
    monkeypatch.setattr(files, "ROWS", 50)
    random_log(30, 20).write_csv(tmp_path / "events.csv")
    (one,) = extracts.of_folder(tmp_path).proposals
    assert (one.rows.height, one.is_whole) == (50, False)


def test_init_writes_no_file_over_a_study_with_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study without events is set aside; one that has some is refused."""
    from churn.cli.beginning import init

    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    random_log(60, 40).write_csv(tmp_path / "raw/events.csv")
    out = Path("churn.toml")
    out.write_text('[[extracts]]\nsource = "table"\npath = "none"\n')
    init(Path("raw"), out)
    assert Path("churn.before-1.toml").read_text().endswith('path = "none"\n')
    printed = capsys.readouterr().out
    assert "55 users" in printed
    assert "next     churn ingest, then churn run explore" in printed
    ingest.ingest(load(out), progress=False)
    with pytest.raises(StudyError, match="holds events"):
        init(Path("raw"), out)
