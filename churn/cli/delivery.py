"""Commands about Braze: the set-up, the ledger, taking values back, the sandbox."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from churn.cli.options import Accept, Progress, Send, StudyPath, as_text, new_app


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module, in the order in which help lists them."""
    braze = new_app("Check the set-up, read the ledger, restore or resend values.")
    for command in (check, ledger, restore, resend):
        braze.command()(command)
    app.add_typer(braze, name="braze")
    app.command()(sandbox)


def check(
    study: StudyPath = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Write test values to this profile: a colleague's."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, max=5000, help="Users to read back, if the key may.")
    ] = 50,
    accept: Accept = None,
) -> None:
    """Check the set-up before the first export, and what Braze holds after it.

    Endpoint, key, permission, clock, limits, ledger, match rate, profiles. Each line is ok or says what to do.
    """
    from churn.braze import check as setup
    from churn.braze import trial
    from churn.errors import CutoffError, StoreError
    from churn.report import runs
    from churn.scoring import scores
    from churn.settings import load
    from churn.store import open_filled

    settings = load(study)
    try:
        findings = scores.read(open_filled(settings))[1]
    except (CutoffError, StoreError):
        findings = None
    is_fine = _show(setup.run(settings, findings, sample))
    if is_fine and profile is not None:
        settings.refuse_invented_users()
        lines = trial.run(
            settings,
            profile,
            runs.new_run_id("check"),
            opted_out=_opted_out(settings),
            accept=accept or (),
        )
        is_fine = _show(lines)
    if not is_fine:
        raise typer.Exit(1)


def _show(lines: Iterable[Any]) -> bool:
    """Print the lines of a check; whether all are ok."""
    is_fine = True
    for line in lines:
        is_fine = is_fine and line.is_ok
        typer.echo(f"{'ok  ' if line.is_ok else 'FAIL'} {line.name}: {line.message}")
    return is_fine


def ledger(
    study: StudyPath = None,
    user: Annotated[
        str | None,
        typer.Option(help="Show what Braze has acknowledged for an identifier."),
    ] = None,
    rejects: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Print users that Braze refused, as CSV."),
    ] = None,
    backup: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Copy the ledger to a new file.")
    ] = None,
) -> None:
    """Show runs, a user's history or rejected users."""
    from churn.braze.delivery import open_ledger
    from churn.braze.ledger import database, history
    from churn.settings import load

    with open_ledger(load(study), None) as opened:
        if backup is not None:
            database.backup(opened.connection, backup)
        elif rejects is not None:
            typer.echo(history.rejected(opened, rejects).write_csv(), nl=False)
        elif user is not None:
            typer.echo(as_text(history.history(opened, user)))
        else:
            typer.echo(as_text(history.runs(opened)))


def restore(
    bad_run: str,
    study: StudyPath = None,
    send: Send = False,
    accept: Accept = None,
    progress: Progress = True,
) -> None:
    """Write back the values from before a run.

    Users that a later run has written are left alone.
    """
    _write("restore", bad_run, study, send, accept, progress)


def resend(
    rejects: Path,
    study: StudyPath = None,
    send: Send = False,
    accept: Accept = None,
    progress: Progress = True,
) -> None:
    """Send a corrected file of rejected users.

    A CSV with the columns identifier and attributes.
    """
    _write("resend", rejects, study, send, accept, progress)


def _write(
    what: str,
    subject: Any,
    study: Path | None,
    send: bool,
    accept: list[str] | None,
    progress: bool,
) -> None:
    from churn.braze import export
    from churn.braze.delivery import Delivery
    from churn.report import delivery_tables, runs
    from churn.settings import load

    settings = load(study)
    if send:
        settings.refuse_invented_users()
    delivery = Delivery(
        settings,
        run_id=runs.new_run_id(what),
        send=send,
        accept=accept or (),
        opted_out=_opted_out(settings),
        progress=progress,
    )
    write: Any = {"restore": export.restore, "resend": export.resend}[what]
    done = write(subject, delivery)
    typer.echo(as_text(delivery_tables.export_summary(done.summary)))


def _opted_out(settings: Any) -> list[str]:
    """The users who have opted out; without events nobody can have."""
    from churn import forget
    from churn.errors import StoreError
    from churn.store import open_filled

    try:
        return forget.opted_out(open_filled(settings))
    except StoreError:
        return []


def sandbox(
    port: int = 8600,
    key: Annotated[
        str, typer.Option(envvar="CHURN_SANDBOX_KEY", help="The only accepted key.")
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
        typer.Option(metavar="NAME=VALUE", help="Option of the sandbox; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of faults and delays.")] = 0,
) -> None:
    """Serve a stand-in for Braze's /users/track on this machine."""
    from churn.sandbox import server
    from churn.sandbox.faults import Faults
    from churn.sandbox.options import Options, parse

    try:
        rates = {name: float(rate) for name, rate in _pairs(fault)}
        script = {int(n): name for n, name in _pairs(fault_at)}
        faults = Faults(script, rates, seed)
        options = Options(**{"seed": seed, **parse(option or [])})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    server.serve(port, key, options, faults)


def _pairs(entries: list[str] | None) -> list[tuple[str, str]]:
    """Name and value of entries such as "429=0.1"."""
    split = (entry.partition("=") for entry in entries or [])
    return [(name, value) for name, _, value in split]
