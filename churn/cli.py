"""The command line, thin: every command reads the study, calls one function and prints
what came of it.

Exit codes: 0 done, 1 refused or failed with one readable sentence, 2 wrong usage.
"""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from churn import __version__
from churn.errors import ChurnError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Drawing the help with rich would load it, pygments and a Markdown parser.
    rich_markup_mode=None,
    help=__doc__,
)

StudyPath = Annotated[
    Path | None,
    typer.Option("--study", help="Study file; default: churn.toml, searched upward."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help="Notebook parameter; repeatable."),
]
Progress = Annotated[
    bool, typer.Option("--progress/--no-progress", help="Progress bars.")
]


def main() -> None:
    """Run the command line; an error of ours becomes one sentence and exit code 1."""
    try:
        app()
    except ChurnError as error:
        typer.secho(f"churn: {error}", fg="red", err=True)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _start(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="One log line per stage.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s %(message)s",
    )


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder of its own; made anew every time.")
    ] = Path("data/demo"),
    users: Annotated[int, typer.Option(min=500)] = 5000,
    days: Annotated[int, typer.Option(min=150)] = 240,
    seed: int = 0,
    progress: Progress = True,
) -> None:
    """Simulate an app, run all notebooks, export to a sandbox of its own, link to the
    reports.
    """
    from churn import demo as demonstration

    demonstration.run(out, users, days, seed, progress)


@app.command()
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
    """Write an invented app's events as a vendor would, with the true churn
    probabilities beside them.
    """
    from churn.simulate import extracts

    drawn = extracts.WORLDS[world](users, days, seed)
    counts = extracts.write(drawn, out, source, progress=progress)
    typer.echo(
        ", ".join(
            f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}"
            for k, v in counts.items()
        )
    )
    typer.echo(f"next: churn ingest --study {out / 'churn.toml'}")


@app.command()
def ingest(
    study: StudyPath = None,
    now: Annotated[
        datetime | None,
        typer.Option(
            help="Pretend this is the present (UTC); events after it are quarantined."
        ),
    ] = None,
    progress: Progress = True,
) -> None:
    """Add new extract files to the event log and daily activity; counts every row
    read.
    """
    from churn.events import ingest
    from churn.report import sentences
    from churn.settings import load

    result = ingest.ingest(
        load(study), now.replace(tzinfo=UTC) if now else None, progress
    )
    typer.echo("\n".join(sentences.ingest(result)))


@app.command()
def forget(
    who: Annotated[
        list[str] | None,
        typer.Argument(help="User ids, TYPE:VALUE ids, or OpenDSR REQUEST.json."),
    ] = None,
    study: StudyPath = None,
    requested: Annotated[
        bool, typer.Option(help="Everybody whose erasure a vendor's rows report.")
    ] = False,
) -> None:
    """Erase people everywhere but in data/raw: event log, activity, scores, quarantine
    and ledger.
    """
    from churn import forget as erasure
    from churn.settings import load

    done = erasure.forget(load(study), who or [], requested)
    typer.echo(
        f"{done.n_people} known people forgotten, {sum(done.rows.values()):,} rows erased"
    )
    for table, n in done.rows.items():
        typer.echo(f"  {table}: {n:,}")
    if done.n_shared:
        typer.echo(
            f"{done.n_shared} named id(s) are used by others too and stay theirs"
        )
    if done.n_waiting:
        typer.echo(
            f"{done.n_waiting} null write(s) to Braze wait for: churn run export -p send=true"
        )


@app.command()
def run(
    name: str, p: Parameters = None, study: StudyPath = None, progress: Progress = True
) -> None:
    """Run a notebook (ingest, explore, train, evaluate, score, export) strictly; writes
    reports/<run_id>/.
    """
    from churn.settings import find

    folder = _run(name, find(study), p or [], progress)
    typer.echo(folder / "report.html")


def _run(name: str, study_file: Path, assignments: list[str], progress: bool) -> Path:
    from churn.report import runner
    from churn.settings import load

    path = runner.find(name, load(study_file))
    return runner.run(
        name,
        study_file,
        runner.parse_assignments(path, assignments),
        progress=progress,
    )


@app.command()
def nightly(
    study: StudyPath = None,
    send: Annotated[
        bool, typer.Option(help="Write to Braze; without it the export is a dry run.")
    ] = False,
    accept: Annotated[
        list[str] | None, typer.Option(help="Failed gate to go on with; repeatable.")
    ] = None,
    progress: Progress = False,
) -> None:
    """Ingest, score, export: what a scheduler runs every night."""
    from churn.settings import find

    study_file = find(study)
    accepted = f"accept={','.join(accept or [])}"
    steps = {
        "ingest": [],
        "score": [accepted],
        "export": [accepted, f"send={str(send).lower()}"],
    }
    for name, assignments in steps.items():
        typer.echo(_run(name, study_file, assignments, progress) / "report.html")


@app.command()
def report(notebook: Path) -> None:
    """Write the HTML report and metrics of a notebook that plain papermill executed."""
    from churn.report import page

    for path in page.report(notebook).values():
        typer.echo(path)


braze = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Delivery to Braze: the set-up, what was told, taking it back.",
)
app.add_typer(braze, name="braze")
Accept = Annotated[
    list[str] | None, typer.Option(help="Limit to go on with; repeatable.")
]
Send = Annotated[
    bool, typer.Option(help="Write to Braze; without it this is a dry run.")
]


@braze.command()
def check(study: StudyPath = None) -> None:
    """Look at endpoint, key, permission, clock, limits, ledger and match rate; each
    line is ok or says what to do.
    """
    from churn.braze import check as setup
    from churn.errors import CutoffError, StoreError
    from churn.scoring import scores
    from churn.settings import load
    from churn.store import open_filled

    settings = load(study)
    try:
        findings = scores.read(open_filled(settings))[1]
    except (CutoffError, StoreError):
        findings = None
    lines = []
    for line in setup.run(settings, findings):
        lines.append(line)
        typer.echo(f"{'ok  ' if line.is_fine else 'FAIL'} {line.name}: {line.said}")
    if not all(line.is_fine for line in lines):
        raise typer.Exit(1)


@braze.command()
def ledger(
    study: StudyPath = None,
    user: Annotated[
        str | None, typer.Option(help="What this identifier was told, and when.")
    ] = None,
    rejects: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Whom Braze refused in a run, as CSV."),
    ] = None,
    backup: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Copy the ledger to a new file.")
    ] = None,
) -> None:
    """Show the runs to this endpoint and workspace with their outcomes; or a user, the
    rejects of a run, a back-up.
    """
    from churn.braze import database, export
    from churn.braze import ledger as books
    from churn.settings import load

    with export.opened(load(study), None) as book:
        if backup is not None:
            database.backup(book.connection, backup)
        elif rejects is not None:
            typer.echo(books.rejected(book, rejects).write_csv(), nl=False)
        else:
            typer.echo(
                _table(books.runs(book) if user is None else books.history(book, user))
            )


def _table(frame: Any) -> str:
    import polars as pl

    with pl.Config(
        tbl_rows=50,
        tbl_cols=-1,
        tbl_width_chars=200,
        tbl_hide_column_data_types=True,
        fmt_str_lengths=80,
    ):
        return str(frame)


@braze.command()
def restore(
    bad_run: str,
    study: StudyPath = None,
    send: Send = False,
    accept: Accept = None,
    progress: Progress = True,
) -> None:
    """Send the values from before a run to all whom no later run has told anything
    else.
    """
    _take("restore", bad_run, study, send, accept, progress)


@braze.command()
def resend(
    rejects: Path,
    study: StudyPath = None,
    send: Send = False,
    accept: Accept = None,
    progress: Progress = True,
) -> None:
    """Send a mended file of rejects: a CSV with the columns identifier and
    attributes.
    """
    _take("resend", rejects, study, send, accept, progress)


def _take(
    what: str,
    subject: Any,
    study: Path | None,
    send: bool,
    accept: list[str] | None,
    progress: bool,
) -> None:
    from churn import forget as erasure
    from churn.braze import export
    from churn.errors import StoreError
    from churn.report import runs
    from churn.settings import load
    from churn.store import open_filled

    settings = load(study)
    try:
        opted_out = erasure.opted_out(open_filled(settings))
    except StoreError:  # no events, so nobody who opted out
        opted_out = []
    make: Any = {"restore": export.restore, "resend": export.resend}[what]
    run_id = runs.new_run_id(what)
    done = make(
        settings,
        subject,
        run_id=run_id,
        send=send,
        accept=accept or (),
        opted_out=opted_out,
        progress=progress,
    )
    typer.echo(_table(export.summary_table(done)))


@app.command()
def sandbox(
    port: int = 8600,
    key: Annotated[
        str, typer.Option(envvar="CHURN_SANDBOX_KEY", help="The only key it accepts.")
    ] = "sandbox-key",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=RATE", help="Share of requests that fail so; repeatable."
        ),
    ] = None,
    fault_at: Annotated[
        list[str] | None,
        typer.Option(metavar="N=NAME", help="How the nth request fails; repeatable."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Any switch of the sandbox; repeatable."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of faults, delays and their order.")] = 0,
) -> None:
    """Serve a stand-in for Braze's /users/track on loopback."""
    from churn.sandbox import server
    from churn.sandbox.faults import Faults
    from churn.sandbox.options import Options, parse

    try:
        rates = {
            name: float(rate)
            for name, _, rate in (entry.partition("=") for entry in fault or [])
        }
        script = {
            int(n): name
            for n, _, name in (entry.partition("=") for entry in fault_at or [])
        }
        faults = Faults(script, rates, seed)
        options = Options(**{"seed": seed, **parse(option or [])})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    server.serve(port, key, options, faults)


if __name__ == "__main__":
    main()
