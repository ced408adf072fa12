"""The command that takes postbacks, for a service manager."""

import logging
import re
import socket
from typing import Annotated

import typer

from churn.cli.options import StudyPath


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command()(receive)


def receive(
    study: StudyPath = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; TLS is the proxy's.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: any free one.")
    ] = 8377,
    name: Annotated[
        str | None,
        typer.Option(help="Name of this receiver; default: the machine's."),
    ] = None,
) -> None:
    """Take postbacks as AppsFlyer, Adjust, Branch, Singular and Kochava send them.

    Each is on the disk before it is acknowledged, and becomes part of an extract when
    its hour is over. The secret of each vendor comes from the environment. Runs until
    SIGTERM.
    """
    from churn.receive import serve
    from churn.settings import load

    logging.getLogger("churn.receive").setLevel(logging.INFO)
    own_name = re.sub(r"[^A-Za-z0-9.-]+", "-", name or socket.gethostname())
    serve(load(study), host, port, own_name)
