"""The commands on stored models."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from churn import cli
from churn.errors import ModelError
from churn.model import champion, fitting, storage
from churn.model.pipelines import Recipe
from churn.settings import load
from churn.store import Store, create_or_open

from .model.test_selection import PLAN, WINDOWS, rows

STUDY = f"""
[[extracts]]
source = "table"
path = "events.csv"
[windows]
{"".join(f"{name} = {days}" + chr(10) for name, days in WINDOWS.items())}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study file beside an empty store."""
    file = tmp_path / "churn.toml"
    file.write_text(STUDY)
    return file


def save(store: Store, member: str) -> str:
    """The id of a model with one member that was just stored."""
    labelled = rows().drop_nulls("churned")
    model = fitting.fit(labelled, PLAN, store.settings, Recipe({member: 1.0}))
    return Path(storage.save(model, store, {})).name


def asked(study: Path, *arguments: str) -> str:
    """What `churn model …` prints; an error of ours is raised."""
    command = ["model", *arguments, "--study", str(study)]
    done = CliRunner().invoke(cli.app, command)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_person_promotes_a_model_and_takes_it_back(study: Path) -> None:
    """Each command says which model scores; the list says why."""
    store = create_or_open(load(study))
    first, second = save(store, "logistic"), save(store, "boosting")
    said = asked(study, "promote", first, "--why", "the newer one looked odd")
    assert said == f"{first} scores from now on\n"
    listed = asked(study, "list")
    assert listed.index(second) < listed.index(first)
    assert "the newer one looked odd" in " ".join(listed.split())
    assert storage.load(store).model_id == first
    assert asked(study, "rollback") == f"{second} scores again\n"
    assert champion.current(store.place) == second


def test_what_cannot_be_done_is_one_sentence(study: Path) -> None:
    """An unknown model, and a rollback without an earlier champion."""
    create_or_open(load(study))
    with pytest.raises(ModelError, match="there is no model nope"):
        asked(study, "promote", "nope")
    with pytest.raises(ModelError, match="no earlier champion"):
        asked(study, "rollback")
    assert "model" in asked(study, "list")
