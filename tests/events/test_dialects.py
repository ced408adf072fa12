"""CSV as spreadsheets of many countries write it is read, or refused by the setting
that decides how it is meant.
"""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.errors import InputError, StudyError
from churn.events import ingest
from churn.events.sources import csvtext
from churn.events.sources.unfinished import is_unfinished
from churn.settings import Csv, Extract, Settings, parse
from churn.store import inputs, open_filled

from ..conftest import read
from .test_unfinished import found, write

NOW = datetime(2026, 3, 20, tzinfo=UTC)
HEADER = "user_id,event,time,revenue"


def rows(
    folder: Path,
    text: str,
    name: str = "a.csv",
    encoding: str = "utf-8",
    **extract: Any,
) -> pl.DataFrame:
    """The canonical rows of a table with this text."""
    (folder / name).write_bytes(text.encode(encoding))
    return read(folder / name, Extract(source="table", path="x", **extract))


def times(folder: Path, *cells: str, **settings: str) -> list[Any]:
    """Times as read, without the zone; null where the row has a fault."""
    lines = [HEADER, *[f"u,open,{cell}," for cell in cells]]
    got = rows(folder, "\n".join(lines) + "\n", csv=Csv(**settings))
    return got["event_time"].dt.strftime("%F %T").to_list()


def amounts(
    folder: Path, *cells: str, separator: str = ",", **settings: str
) -> list[float | None]:
    """Revenue as read; null where the row has a fault."""
    lines = [f'u,open,2026-03-01,"{cell}"' for cell in cells]
    text = "\n".join([HEADER, *lines]) + "\n"
    if separator != ",":
        head, *body = text.splitlines()
        body = [line.replace(",", separator, 3) for line in body]
        text = "\n".join([head.replace(",", separator), *body]) + "\n"
    return rows(folder, text, csv=Csv(**settings))["revenue"].to_list()


def refusal(call: Callable[..., Any], *arguments: Any, **settings: Any) -> str:
    """The sentence with which the file is refused."""
    with pytest.raises(InputError) as caught:
        call(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_encodings_are_recognised(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    """Every separator in every encoding gives the same rows, plain and gzipped."""
    text = f"{HEADER}\nu,open,2026-03-01,5\nv,open,2026-03-02,\n"
    text = text.replace(",", separator)
    plain = rows(tmp_path, text, encoding=encoding)
    assert plain["user_id"].to_list() == ["u", "v"]
    assert plain["revenue"].to_list() == [5.0, None]
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text.encode(encoding)))
    packed = read(tmp_path / "b.csv.gz", Extract(source="table", path="x"))
    assert packed.equals(plain)


def test_the_line_of_excel_states_the_separator(tmp_path: Path) -> None:
    """It comes before the header, is no row, and wins over what the header looks like."""
    text = "sep=;\r\nuser_id;event;time;a,b,c,d,e\r\nu;open;2026-03-01;1\r\n"
    got = rows(tmp_path, text, encoding="utf-8-sig")
    assert got["user_id"].to_list() == ["u"]
    assert got["properties"].to_list() == ['{"a,b,c,d,e":"1"}']
    assert got["source_row"].to_list() == [1]


def test_a_separator_counts_only_if_the_needed_columns_are_there(
    tmp_path: Path,
) -> None:
    """Names of columns may hold other separators, even more of them."""
    by_comma = rows(tmp_path, "user_id,event,time,a;b;c;d;e\nu,open,2026-03-01,1\n")
    assert by_comma["properties"].to_list() == ['{"a;b;c;d;e":"1"}']
    columns = {"revenue": "net, EUR"}
    by_semicolon = rows(
        tmp_path,
        "user_id;event;time;net, EUR\nu;open;2026-03-01;2,5\n",
        columns=columns,
    )
    assert by_semicolon["revenue"].to_list() == [2.5]


def test_another_separator_is_asked_for_and_taken(tmp_path: Path) -> None:
    """The error shows the only column that was seen, and the setting."""
    text = "user_id^event^time\nu^open^2026-03-01\n"
    said = refusal(rows, tmp_path, text)
    assert "it has user_id^event^time as its only column; state separator" in said
    assert rows(tmp_path, text, csv=Csv(separator="^"))["user_id"].to_list() == ["u"]


def test_dates_are_read_in_the_order_that_one_of_them_decides(tmp_path: Path) -> None:
    """A number over twelve is the day, and two dates must say so. Times have twelve or 24 hours, seconds or none,
    and unpadded numbers; ISO 8601 may stand between them.
    """
    day_first = ("13/02/2026 8:05", "14/2/2026", "3/2/2026", "2026-02-03T10:00+02:00")
    assert times(tmp_path, *day_first) == [
        "2026-02-13 08:05:00",
        "2026-02-14 00:00:00",
        "2026-02-03 00:00:00",
        "2026-02-03 08:00:00",
    ]
    halves = ("02/03/2026 12:05:09 am", "2/3/2026 12:00 p.m.")
    assert times(tmp_path, "2/13/2026 8:15 PM", "2/14/2026 9:05 AM", *halves) == [
        "2026-02-13 20:15:00",
        "2026-02-14 09:05:00",
        "2026-02-03 00:05:09",
        "2026-02-03 12:00:00",
    ]
    assert times(tmp_path, "3.2.2026", "03.02.2026 8:05:06.5") == [
        "2026-02-03 00:00:00",
        "2026-02-03 08:05:06",
    ]
    assert times(tmp_path, "2026/2/3 10:00", "2026-2-3") == [
        "2026-02-03 10:00:00",
        "2026-02-03 00:00:00",
    ]


def test_the_whole_file_decides_about_its_dates(tmp_path: Path) -> None:
    """The date that decides may stand far behind the rows that are looked at first."""
    cells = ["03/02/2026"] * (csvtext.SAMPLE_ROWS * 3)
    got = times(tmp_path, *cells, "13/02/2026", "14/02/2026")
    assert [day[8:10] for day in sorted(set(got))] == ["03", "13", "14"]


def test_dates_that_decide_nothing_are_refused_until_they_are_stated(
    tmp_path: Path,
) -> None:
    """Undecided, contradictory and short dates name the setting; with it, they are
    read. What can't be read so is a fault of its row.
    """
    undecided = ("03/02/2026 10:00", "04/02/2026 10:00")
    said = refusal(times, tmp_path, *undecided)
    assert "unreadable times, such as '03/02/2026': no date says" in said
    assert 'date_format = "%d/%m/%Y" or "%m/%d/%Y"' in said
    both = refusal(times, tmp_path, "13/02/2026", "02/13/2026")
    assert "two orders, such as '13/02/2026' and '02/13/2026'" in both
    one = refusal(times, tmp_path, "13/02/2026 10:00", "13/02/2026 11:00", "03/02/2026")
    assert "of which only '13/02/2026' says which number is the month" in one
    short = refusal(times, tmp_path, "13/02/26")
    assert "such as '13/02/26': their year has two digits" in short
    for form in ("%d/%m/%Y", "%d/%m/%Y %H:%M"):
        assert times(tmp_path, *undecided, date_format=form) == [
            "2026-02-03 10:00:00",
            "2026-02-04 10:00:00",
        ]
    assert times(tmp_path, "03/02/2026 10:00", date_format="%m/%d/%Y") == [
        "2026-03-02 10:00:00"
    ]
    mixed = ("13/02/2026", "02/13/2026", "2026-02-05", "13/02/2026 8:15 PM")
    assert times(tmp_path, *mixed, date_format="%d/%m/%Y") == [
        "2026-02-13 00:00:00",
        None,
        "2026-02-05 00:00:00",
        "2026-02-13 20:15:00",
    ]
    zoned = times(tmp_path, "8 Feb 2026 1:00 +0200", date_format="%d %b %Y %H:%M %z")
    assert zoned == ["2026-02-07 23:00:00"]


def test_decimal_commas_are_read_where_one_amount_decides(tmp_path: Path) -> None:
    """Amounts with thousands, blanks and currency signs, in both ways of writing."""
    assert amounts(tmp_path, "19,90", "1.234,50", "5", "", separator=";") == [
        19.9,
        1234.5,
        5.0,
        None,
    ]
    assert amounts(tmp_path, "1 234,50 €", "-2,5", "€ 1.000") == [1234.5, -2.5, 1000.0]
    assert amounts(tmp_path, "1,234.50", "2,000", "0.125") == [1234.5, 2000.0, 0.125]
    assert amounts(tmp_path, "1'234.50", "0.5", separator=";") == [1234.5, 0.5]
    assert amounts(tmp_path, "1.234", "9.5") == [1.234, 9.5]
    assert amounts(tmp_path, "1.234", "7") == [1.234, 7.0]


def test_amounts_that_decide_nothing_are_refused_until_they_are_stated(
    tmp_path: Path,
) -> None:
    """1,234 alone may be over a thousand, and so may 1.234 between semicolons."""
    for separator, cell in ((",", "1,234"), (";", "1.234"), (";", "1,234")):
        said = refusal(amounts, tmp_path, cell, "7", separator=separator)
        assert f"amounts such as {cell!r}" in said
        assert 'decimal = "," or decimal = "."' in said
    assert amounts(tmp_path, "1,234", "7", decimal=",") == [1.234, 7.0]
    assert amounts(tmp_path, "1,234", "7", decimal=".") == [1234.0, 7.0]
    assert amounts(tmp_path, "1.234", "7", separator=";", decimal=",") == [1234.0, 7.0]


def test_rare_amounts_are_looked_for_in_the_whole_file(tmp_path: Path) -> None:
    """None of the first three hundred rows has one, and it has a decimal comma."""
    found = amounts(tmp_path, *[""] * 300, "12,50", "1.234")
    assert found[-2:] == [12.5, 1234.0]


def test_contradictory_amounts_are_faults_of_their_rows(tmp_path: Path) -> None:
    """Beside 9.99 a decimal comma can't be read."""
    assert amounts(tmp_path, "9.99", "1,5", "ten") == [9.99, None, None]


def test_properties_follow_the_decimal_comma(tmp_path: Path) -> None:
    """A column that becomes a property is a number too; text and lists stay."""
    text = "user_id;event;time;revenue;level;note\nu;x;2026-03-01;1,5;2,5;a, b\n"
    got = rows(tmp_path, text)
    assert got["properties"].to_list() == ['{"level":"2.5","note":"a, b"}']


def test_a_vendors_report_may_have_passed_through_a_spreadsheet(
    tmp_path: Path,
) -> None:
    """An AppsFlyer report saved again by a European Excel gives the same event."""
    header = "Event Time;Event Name;AppsFlyer ID;Event Revenue"
    (tmp_path / "a.csv").write_text(f"{header}\n13.02.2026 08:05;buy;d;19,90\n")
    got = read(tmp_path / "a.csv", Extract(source="appsflyer", path="x"))
    assert got["event_time"].item() == datetime(2026, 2, 13, 8, 5, tzinfo=UTC)
    assert got["revenue"].item() == 19.9


def test_an_end_is_missed_by_the_files_own_separator(tmp_path: Path) -> None:
    """A recent file whose last row lacks cells is unfinished, whatever separates them."""
    whole = b"user_id;event;time\na;open;2026-03-01\nb;open;2026-03-02\n"
    path = write(tmp_path / "a.csv", whole[:-12])
    assert is_unfinished(found(path), path.stat().st_mtime)
    assert not is_unfinished(found(write(path, whole)), path.stat().st_mtime)
    write(path, whole[:-12])
    assert "its last row has 2 of 3 cells" in refusal(
        read, path, Extract(source="table", path="x")
    )


def test_a_changed_dialect_reads_the_files_again(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A store of a version without these settings is not read again for them."""
    text = "user_id,event,time\nu,open,14/02/2026\nv,open,13/02/2026\n"
    (tmp_path / "events.csv").write_text(text)
    extract = {"source": "table", "path": "events.csv"}
    settings = make_study(extracts=[extract])
    ingest.ingest(settings, NOW, progress=False)
    stored = open_filled(settings).inputs
    older = {
        path: {k: v for k, v in one.items() if k != "csv"}
        for path, one in stored.items()
    }
    assert inputs.changed_inputs(older, settings) == {}
    stated = make_study(extracts=[extract | {"csv": {"date_format": "%d/%m/%Y"}}])
    assert inputs.changed_inputs(stored, stated) == {"events.csv": ["csv"]}
    done = ingest.ingest(stated, NOW, progress=False)
    assert done.n_reread == {"events.csv": 1}
    assert open_filled(stated).n_rows("events") == 2


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"separator": ";;"}, "isn't one character"),
        ({"separator": '"'}, "isn't one character"),
        ({"decimal": ";"}, "Input should be '.' or ','"),
        ({"date_format": "dd/mm/yyyy"}, "doesn't say how year, month and day"),
        ({"date_format": "%d/%m"}, "doesn't say how year, month and day"),
    ],
)
def test_a_setting_that_says_nothing_is_refused(
    tmp_path: Path, stated: dict[str, str], said: str
) -> None:
    """The study names the key and what is expected."""
    extract = {"source": "table", "path": "x", "csv": stated}
    with pytest.raises(StudyError) as caught:
        parse({"extracts": [extract]}, tmp_path)
    assert said in str(caught.value)
    assert f"extracts.0.csv.{next(iter(stated))}" in str(caught.value)
