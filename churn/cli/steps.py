"""The steps from extract files to scores, one by one."""

from datetime import UTC
from pathlib import Path
from typing import Annotated, Literal

import typer

from churn.cli.options import (
    Now,
    Parameters,
    Progress,
    StudyPath,
    as_text,
)
from churn.report import supervision


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module, in the order in which help lists them."""
    steps = (
        demo,
        simulate,
        ingest,
        run,
        accepted,
        report,
        forget,
        convert_store,
        divide_store,
    )
    for command in steps:
        app.command()(command)


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder of the demo, made anew every time.")
    ] = Path("data/demo"),
    users: Annotated[int, typer.Option(min=500)] = 5000,
    days: Annotated[int, typer.Option(min=150)] = 240,
    seed: int = 0,
    progress: Progress = True,
) -> None:
    """Try everything on a simulated app and a sandbox.

    Nothing leaves this machine.
    """
    supervision.go_on_watched(out / "churn.toml")
    from churn import demo as demonstration

    demonstration.run(out, users, days, seed, progress)


def simulate(
    out: Path,
    users: Annotated[int, typer.Option(min=1)] = 5000,
    days: Annotated[int, typer.Option(min=60)] = 240,
    seed: int = 0,
    world: Annotated[
        Literal["markov", "bgnbd", "random"],
        typer.Option(help="random: a Markov world with parameters by seed."),
    ] = "markov",
    source: Literal["appsflyer", "table"] = "appsflyer",
    progress: Progress = True,
) -> None:
    """Write a simulated app's events as extract files.

    The true churn probabilities are written beside them.
    """
    from churn.simulate import extracts

    drawn = extracts.WORLDS[world](users, days, seed)
    counts = extracts.write(drawn, out, source, progress=progress)
    shown = (
        f"{name} {n:,}" if isinstance(n, int) else f"{name} {n}"
        for name, n in counts.items()
    )
    typer.echo(", ".join(shown))
    typer.echo(f"next: churn ingest --study {out / 'churn.toml'}")


def ingest(
    study: StudyPath = None,
    now: Now = None,
    progress: Progress = True,
) -> None:
    """Add new extract files to the event log, and replace changed ones.

    Every row read is kept, a duplicate, or quarantined with its reason.
    """
    from churn.events import ingest
    from churn.report import history_sentences as sentences
    from churn.settings import load

    present = now.replace(tzinfo=UTC) if now else None
    arrived = ingest.ingest(load(study), present, progress)
    typer.echo("\n".join(sentences.ingest(arrived)))


def run(
    name: str, p: Parameters = None, study: StudyPath = None, progress: Progress = True
) -> None:
    """Run a notebook and write its report.

    Notebooks: ingest, explore, train, evaluate, score, export, monitor. An unknown parameter is refused. Writes the executed notebook, its report, metrics
    and manifest to reports/<run_id>/.
    """
    supervision.go_on_watched(study)
    from churn.settings import find

    folder = _run(name, find(study), p or [], progress)
    typer.echo(folder / "report.html")


def _run(
    name: str,
    study_file: Path,
    assignments: list[str],
    progress: bool,
) -> Path:
    from churn.report import parameters, runner
    from churn.settings import load

    notebook = runner.find(name, load(study_file))
    given = parameters.parse_assignments(notebook, assignments)
    return runner.run(name, study_file, given, progress=progress)


def accepted(
    study: StudyPath = None,
    revoke: Annotated[
        str | None,
        typer.Option(metavar="GATE:DATE", help="Take back what was accepted."),
    ] = None,
) -> None:
    """List the days that somebody has accepted although a gate failed.

    With who did it, when and why. No later night fails on them.
    """
    from churn.scoring import accepted as memory
    from churn.settings import load
    from churn.store import Place

    place = Place(load(study).store_address)
    if revoke is None:
        typer.echo(as_text(memory.table(memory.read(place))))
    else:
        typer.echo(f"{memory.revoke(place, revoke)} accepted case(s) taken back")


def report(notebook: Path) -> None:
    """Turn an executed notebook into a report.

    Writes the HTML page and metrics.json beside it.
    """
    from churn.report import page

    for path in page.report(notebook).values():
        typer.echo(path)


def forget(
    who: Annotated[
        list[str] | None,
        typer.Argument(help="User ids, TYPE:VALUE ids, or an OpenDSR REQUEST.json."),
    ] = None,
    study: StudyPath = None,
    requested: Annotated[
        bool, typer.Option(help="Everybody whose erasure a vendor has reported.")
    ] = False,
) -> None:
    """Erase people everywhere but in data/raw.

    From event log, activity, scores, quarantine and ledger.
    """
    from churn import forget as erasure
    from churn.settings import load

    done = erasure.forget(load(study), who or [], requested)
    n_rows = sum(done.rows.values())
    typer.echo(f"{done.n_people} known people forgotten, {n_rows:,} rows erased")
    for table, n in done.rows.items():
        typer.echo(f"  {table}: {n:,}")
    if done.n_shared:
        typer.echo(f"{done.n_shared} named id(s) were kept, since others use them too")
    if done.n_waiting:
        typer.echo(
            f"{done.n_waiting} null write(s) to Braze wait for: "
            "churn run export -p send=true"
        )


def convert_store(study: StudyPath = None, progress: Progress = True) -> None:
    """Convert a store that an earlier version wrote.

    The extracts are not needed. An interrupted conversion can be run again.
    """
    from churn.events import conversion
    from churn.settings import load

    done = conversion.convert(load(study), progress)
    typer.echo(
        f"converted {done.store.place.address}: {done.n_events:,} events of "
        f"{done.n_files:,} files; {done.n_removed:,} old files removed"
    )


def divide_store(study: StudyPath = None, progress: Progress = True) -> None:
    """Divide a store that has grown into more buckets, so that each fits in memory.

    There will be as many as the study's store_buckets says, or else as fit. An
    interrupted division can be run again.
    """
    from churn.events import dividing
    from churn.settings import load

    done = dividing.divide(load(study), progress)
    number = done.store.n_buckets
    typer.echo(
        f"{done.store.place.address}: {done.n_events:,} events in {number} buckets, "
        f"{done.n_before} before"
    )
