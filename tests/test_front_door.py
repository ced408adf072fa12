"""The front door: what `import churn` offers, and which study it opens."""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from typer.testing import CliRunner

import churn
from churn import store
from churn.cli import app
from churn.events import ingest
from churn.settings import Settings
from churn.simulate import extracts, markov
from churn.store import Store

from .conftest import random_log

HOME = Path(__file__).resolve().parents[1]
STUDY = """
store = "store"
[[extracts]]
source = "table"
path = "events.parquet"
[windows]
observation_days = 28
eligible_days = 14
horizon_days = 14
[backtest]
n_train_cutoffs = 5
n_test_cutoffs = 2
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> churn.Study:
    """A study whose store holds the small app's 120 days."""
    folder = tmp_path_factory.mktemp("study")
    return filled_study(folder)


def filled_study(folder: Path) -> churn.Study:
    """A study file in the folder, with events ingested through the front door."""
    random_log().write_parquet(folder / "events.parquet")
    (folder / "churn.toml").write_text(STUDY)
    opened = churn.open(folder / "churn.toml")
    opened.ingest()
    return opened


def test_the_face_is_what_all_says() -> None:
    """Every name of __all__ can be had, dir() lists exactly these, others are refused."""
    for name in churn.__all__:
        assert getattr(churn, name) is not None
    assert sorted(churn.__all__) == dir(churn)
    with pytest.raises(AttributeError, match="no attribute 'shut'"):
        churn.shut  # noqa: B018


def test_all_errors_are_on_the_face() -> None:
    """Whoever catches an error finds it as churn.NAME."""
    kinds = {k for k in vars(churn.errors).values() if isinstance(k, type)}
    names = {k.__name__ for k in kinds if issubclass(k, churn.ChurnError)}
    assert names <= set(churn.__all__)


def test_notebooks_import_the_front_door_alone() -> None:
    """Of churn they import `churn` and `churn.charts`, of others only Markdown."""
    for path in sorted((HOME / "notebooks").glob("[0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        nodes = [node for cell in code for node in ast.walk(ast.parse(cell))]
        lines = {
            ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)
        }
        assert lines <= {
            "import churn",
            "from churn import charts",
            "from IPython.display import Markdown",
        }, path.name


def test_x_and_y_come_in_two_lines(study: churn.Study) -> None:
    """A snapshot holds features and outcome alone, of the newest mature cutoff."""
    snapshot = study.snapshot()
    X, y = snapshot.drop("user_id", "cutoff", "churned"), snapshot["churned"]  # noqa: N806
    assert snapshot["cutoff"].unique().to_list() == [study.calendar.newest_mature()]
    assert y.null_count() == 0
    assert all(kind.is_numeric() for kind in X.dtypes)
    assert "return_days" not in X.columns
    fitted = HistGradientBoostingClassifier().fit(X.to_numpy(), y.to_numpy())
    assert fitted.n_features_in_ == X.width


def test_a_linear_rival_takes_missing_values(study: churn.Study) -> None:
    """The classifier to begin with learns from a snapshot as it is."""
    snapshot = study.snapshot()
    X, y = snapshot.drop("user_id", "cutoff", "churned"), snapshot["churned"]  # noqa: N806
    fitted = churn.linear_classifier().fit(X.to_numpy(), y.to_numpy())
    assert fitted.predict_proba(X.to_numpy()).shape == (snapshot.height, 2)


def test_several_cutoffs_make_one_snapshot(study: churn.Study) -> None:
    """Dates and texts are both cutoffs; a text that is none is refused."""
    newest = study.calendar.newest_mature()
    oldest = study.calendar.earliest
    both = study.snapshot(str(oldest), newest)
    assert sorted(both["cutoff"].unique()) == [oldest, newest]
    with pytest.raises(churn.CutoffError, match="write a date"):
        study.snapshot("yesterday")


def test_the_road_from_training_to_a_dry_run(study: churn.Study) -> None:
    """Train, save, score, save and export: each returns tables and sentences."""
    training = study.train()
    training.save()
    assert training.model.model_id in training.summary()
    assert training.members().height >= 1
    features = training.features()
    assert set(features["feature"]) == set(training.model.features)
    assert features["log_loss_increase"].drop_nulls().is_sorted(descending=True)
    assert set(training.kinds()["name"]) == set(features["kind"])
    scores = study.score()
    scores.save(accept=scores.findings.filter(~pl.col("passed"))["gate"].to_list())
    assert scores.segments()["users"].sum() == scores.table.height
    assert study.scores().table.equals(scores.table)
    failed = scores.findings.filter(~pl.col("passed"))["gate"].to_list()
    export = study.export(accept=failed)
    assert export.summary().columns[0] == "dry run: nothing was sent"
    assert export.outcomes()["n"].sum() >= scores.table.height


def test_scores_and_findings_are_of_one_state_of_the_store(
    study: churn.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scoring opens the store once, so that an ingest can't commit in between."""
    study.train(model=HistGradientBoostingClassifier(max_iter=2)).save()
    opened = []

    def open_filled(settings: Settings) -> Store:
        opened.append(store.open_filled(settings))
        return opened[-1]

    monkeypatch.setattr("churn.study.open_filled", open_filled)
    scores = study.score()
    assert [scores.store] == opened
    assert scores.cutoff == study.calendar.end


def test_the_nearest_study_with_events_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One without events is passed over, unless asked for; which one it is gets said."""
    filled_study(tmp_path)
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "churn.toml").write_text(STUDY)
    monkeypatch.chdir(inner)
    monkeypatch.delenv("CHURN_STUDY", raising=False)
    assert churn.open().file == tmp_path / "churn.toml"
    assert str(tmp_path / "churn.toml") in capsys.readouterr().out
    assert churn.open(holds_events=False).file == inner / "churn.toml"
    assert churn.open("churn.toml").file == inner / "churn.toml"


def test_a_study_that_the_environment_names_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CHURN_STUDY wins over what is nearer, with events or without."""
    filled_study(tmp_path)
    named = tmp_path / "named" / "churn.toml"
    named.parent.mkdir()
    named.write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_STUDY", str(named))
    assert churn.open().file == named


def test_without_events_the_demo_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the nearest study is still empty, the demo below it is opened and named."""
    (tmp_path / "churn.toml").write_text(STUDY)
    demo = tmp_path / "data" / "demo"
    extracts.write(markov.markov(60, 90, 1), demo, "table", progress=False)
    ingest.ingest(churn.open(demo / "churn.toml").settings, progress=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHURN_STUDY", raising=False)
    opened = churn.open()
    assert opened.file == demo / "churn.toml"
    assert opened.is_simulated
    said = capsys.readouterr().out
    assert f"study: {opened.file} (the demo, since no study of yours holds data" in (
        said
    )
    assert churn.open(holds_events=False).file == demo / "churn.toml"
    (tmp_path / "events.parquet").touch()
    assert churn.open(holds_events=False).file == tmp_path / "churn.toml"
    monkeypatch.chdir(demo)
    assert churn.open().file == opened.file
    assert "(invented users, sent to a sandbox only)" in capsys.readouterr().out


def test_a_demo_made_in_a_folder_without_a_study_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder in which `churn demo` was started needs no churn.toml of its own."""
    demo = tmp_path / "data" / "demo"
    extracts.write(markov.markov(60, 90, 1), demo, "table", progress=False)
    ingest.ingest(churn.open(demo / "churn.toml").settings, progress=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHURN_STUDY", raising=False)
    monkeypatch.setattr("churn.study.candidates", list)
    assert churn.open().file == demo / "churn.toml"


def test_invented_users_are_sent_to_a_sandbox_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export of a simulated study to a real endpoint is refused before it reads."""
    extracts.write(markov.markov(60, 90, 1), tmp_path, "table", progress=False)
    monkeypatch.setenv("CHURN_BRAZE_KEY", "key")
    with pytest.raises(churn.StudyError, match="invented users"):
        churn.open(tmp_path / "churn.toml").export(send=True)


def test_a_store_is_not_read_under_settings_that_it_depends_on(
    make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """A study in another time zone can't look at the same tables."""
    store = filled_study(tmp_path).store
    other: Any = store.settings.model_copy(update={"timezone": "Asia/Tokyo"})
    with pytest.raises(churn.StoreError, match="another timezone"):
        store.under(other)


@pytest.mark.parametrize("command", [["restore", "night-1"], ["resend", "rejects.csv"]])
def test_no_command_sends_invented_users_to_a_real_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Restore and resend refuse them as an export does."""
    extracts.write(markov.markov(60, 90, 1), tmp_path, "table", progress=False)
    monkeypatch.setenv("CHURN_BRAZE_KEY", "key")
    arguments = ["braze", *command, "--study", str(tmp_path / "churn.toml"), "--send"]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, churn.StudyError)
