"""Load the guide's DAG with Airflow itself, and try what it makes of each exit code.

Airflow pins versions of libraries that the package needs newer, so this doesn't run with
the tests. In an environment that has apache-airflow, apache-airflow-providers-papermill
and the database that ``airflow db migrate`` makes:

    python -m tests.docs.airflow_dag
"""

import tempfile
from pathlib import Path
from typing import Any

from .pages import fenced

PAGE = "churn/nights/README.md"


def load(folder: Path) -> Any:
    """The guide's DAG, with the folder in place of /srv/churn."""
    from airflow.dag_processing.dagbag import DagBag

    (source,) = fenced(PAGE, "python")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "churn.py").write_text(source.replace("/srv/churn", str(folder)))
    bag = DagBag(str(dags))
    assert not bag.import_errors, bag.import_errors
    return bag.dags["churn"]


def outcome(task: Any, folder: Path, code: int) -> str:
    """What becomes of the night's task when the program ends with an exit code."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    program = folder / ".venv/bin/churn"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    try:
        task.python_callable()
    except AirflowFailException:
        return "failed"
    except AirflowException:
        return "tried again"
    return "done"


def main() -> None:
    """Print what was found; an AssertionError where the guide is wrong."""
    import airflow

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dag = load(folder)
        nightly = dag.get_task("nightly")
        outcomes = {code: outcome(nightly, folder, code) for code in range(5)}
    assert nightly.retries == 6
    assert dag.get_task("evaluate").upstream_task_ids == {"nightly"}
    print(f"Airflow {airflow.__version__}: the DAG loads; exit codes: {outcomes}")
    again = [code for code, what in outcomes.items() if what == "tried again"]
    done = [code for code, what in outcomes.items() if what == "done"]
    assert (done, again) == ([0], [4]), outcomes


if __name__ == "__main__":
    main()
