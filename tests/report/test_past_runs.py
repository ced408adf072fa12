"""All runs of a study: their page, how two differ, and which are kept."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from churn.cli import past
from churn.errors import ParameterError
from churn.report import index, past_runs

EVIL = "<script>alert('x')</script>"
NOW = datetime(2026, 3, 31, tzinfo=UTC)
SEGMENTS = [{"name": "high"}, {"name": "low"}]


def run(
    reports: Path,
    day: int,
    step: str = "score",
    *,
    status: str = "done",
    error: str | None = None,
    parameters: dict[str, Any] | None = None,
    **metrics: Any,
) -> Path:
    """A run folder of March 2026 with a manifest and recorded figures."""
    began = datetime(2026, 3, day, 4, tzinfo=UTC)
    folder = reports / f"{began:%Y%m%dT%H%M%SZ}-{step}-00{day:02d}"
    folder.mkdir(parents=True)
    facts = {
        "run_id": folder.name,
        "status": status,
        "error": error,
        "started_at": began.isoformat(),
        "finished_at": (began + timedelta(minutes=3)).isoformat(),
        "process": None,
        "parameters": {"run_id": folder.name, **(parameters or {})},
        "study": {"segments": SEGMENTS},
    }
    (folder / "manifest.json").write_text(json.dumps(facts))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def scored(day: int, high: int) -> dict[str, Any]:
    """What a run of score records."""
    word = {"word": "Ready", "tone": "good", "sentences": [f"**{high} of 100**"]}
    return {
        "cutoff": f"2026-03-{day:02d}",
        "n_scored": 100,
        "segments": {"low": 100 - high, "high": high},
        "verdict": word | {"data_until": "2026-03-01", "action": "Send."},
    }


def test_the_page_shows_verdicts_sizes_over_time_and_every_run(tmp_path: Path) -> None:
    """The newest of each step on top, segments in the study's order, a link for each."""
    for day, high in ((1, 10), (2, 20)):
        run(tmp_path, day, **scored(day, high))
    failed = run(
        tmp_path, 3, "ingest", status="failed", error="no file (executed copy: /srv/a)"
    )
    text = index.write(tmp_path).read_text()
    assert "<strong>20 of 100</strong>" in text
    assert "<strong>10 of 100</strong>" not in text
    assert text.index('<th scope="col">high</th>') < text.index(
        '<th scope="col">low</th>'
    )
    assert "share of users in segment high: 10% to 20%" in text
    assert f'href="{failed.name}/report.html"' in text
    assert "no file" in text
    assert "/srv/a" not in text


def test_names_from_the_data_run_no_script(tmp_path: Path) -> None:
    """Verdicts, reasons and folder names are escaped."""
    evil = scored(1, 10)
    evil["verdict"] |= {"word": EVIL, "sentences": [EVIL]}
    run(tmp_path, 1, **evil)
    run(tmp_path, 2, "ingest", status="failed", error=EVIL)
    assert "<script" not in index.write(tmp_path).read_text()


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"status": "done"}', ""])
def test_a_broken_manifest_is_named_and_breaks_nothing(
    tmp_path: Path, content: str
) -> None:
    """Neither the page nor the list of runs."""
    run(tmp_path, 1, **scored(1, 10))
    broken = run(tmp_path, 2)
    (broken / "manifest.json").write_text(content)
    (broken / "metrics.json").write_text("[")
    text = index.write(tmp_path).read_text()
    assert broken.name in text or "Done" in text
    assert past_runs.listed(list(past_runs.every(tmp_path))).height == 2


def test_a_thousand_runs_are_quick_and_counted(tmp_path: Path) -> None:
    """Only the newest are read, so that a night doesn't pay for its past."""
    run(tmp_path, 31, **scored(31, 10))
    text = (next(tmp_path.iterdir()) / "manifest.json").read_text()
    for number in range(1000):
        folder = tmp_path / f"20250101T{number:06d}Z-score-aaaa"
        folder.mkdir()
        (folder / "manifest.json").write_text(text)
    index.write(tmp_path)
    started = time.process_time()
    page = index.write(tmp_path).read_text()
    assert time.process_time() - started < 2
    assert "801 older runs" in page


def test_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    """There is a page, and it names the first commands."""
    assert "churn init" in index.write(tmp_path).read_text()


def test_two_runs_are_compared_by_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters and figures with their change; what is alike isn't shown."""
    (tmp_path / "churn.toml").write_text('[[extracts]]\nsource = "table"\npath = "a"\n')
    reports = tmp_path / "reports"
    run(reports, 1, "evaluate", parameters={"cutoff": ""}, auc=0.7, n=10)
    run(reports, 2, "evaluate", parameters={"cutoff": "2026-02-01"}, auc=0.8, n=10)
    one, other = (past_runs.named(reports, f"evaluate:{w}") for w in PAIR)
    table = past_runs.differences(one, other)
    assert table["what"].to_list() == ["parameters.cutoff", "figures.auc"]
    assert table["change"][1] == pytest.approx(0.1)
    monkeypatch.chdir(tmp_path)
    past.compare("evaluate:previous", "evaluate:latest")
    assert "figures.auc" in capsys.readouterr().out
    past.compare("20260301", "20260301")
    assert "nothing differs" in capsys.readouterr().out


PAIR = ("previous", "latest")


@pytest.mark.parametrize("name", ["score:latest", "2026", "nothing", "evaluate:first"])
def test_a_run_that_is_not_meant_for_certain_is_refused(
    tmp_path: Path, name: str
) -> None:
    """No run, or several."""
    for day in (1, 2):
        run(tmp_path, day, "evaluate")
    with pytest.raises(ParameterError, match="`churn runs` lists them"):
        past_runs.named(tmp_path, name)


def test_old_runs_are_removed_but_for_the_newest_of_each_step(tmp_path: Path) -> None:
    """Also kept are runs that go on, damaged ones, and what is no run."""
    old = run(tmp_path, 1, "score")
    newest_done = run(tmp_path, 2, "score")
    failed_later = run(tmp_path, 3, "score", status="failed")
    only = run(tmp_path, 1, "evaluate")
    going = run(tmp_path, 1, "train", status="running on db-2")
    damaged = run(tmp_path, 1, "export")
    (damaged / "manifest.json").write_text("{")
    other = tmp_path / "mine"
    other.mkdir()
    assert past_runs.remove_old(tmp_path, 10, NOW) == 1
    assert not old.exists()
    kept = (newest_done, failed_later, only, going, damaged, other)
    assert all(folder.exists() for folder in kept)
    assert past_runs.remove_old(tmp_path, 10, NOW) == 0
