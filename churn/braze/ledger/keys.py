"""Keys that each workspace was written with, as fingerprints that don't show the key.

A REST key belongs to one workspace of Braze. So an unknown key under a known label is
either a new key of the same workspace or a key of another one, and only a person can
tell which.
"""

import hashlib
import hmac
import secrets

from sqlalchemy import insert, select

from churn.braze.ledger.database import Ledger
from churn.braze.ledger.tables import KEYS


def is_changed(ledger: Ledger, key: str) -> bool:
    """Whether this workspace was written with other keys so far and never with this."""
    stored = _stored(ledger)
    return bool(stored) and not _is_among(key, stored)


def bind(ledger: Ledger, key: str) -> None:
    """Remember that the key writes to this workspace, beside those known before."""
    connection = ledger.connection
    if _is_among(key, _stored(ledger)):
        return
    salt = secrets.token_hex(16)
    row = {
        "endpoint": ledger.endpoint,
        "workspace": ledger.workspace,
        "fingerprint": _fingerprint(key, salt),
        "salt": salt,
    }
    connection.execute(insert(KEYS), [row])
    connection.commit()


def _stored(ledger: Ledger) -> list[tuple[str, str]]:
    """Fingerprint and salt of each key of this workspace."""
    query = select(KEYS.c.fingerprint, KEYS.c.salt).where(
        KEYS.c.endpoint == ledger.endpoint, KEYS.c.workspace == ledger.workspace
    )
    rows = ledger.connection.execute(query).all()
    return [(row.fingerprint, row.salt) for row in rows]


def _is_among(key: str, stored: list[tuple[str, str]]) -> bool:
    return any(
        hmac.compare_digest(_fingerprint(key, salt), fingerprint)
        for fingerprint, salt in stored
    )


def _fingerprint(key: str, salt: str) -> str:
    return hmac.new(salt.encode(), key.encode(), hashlib.sha256).hexdigest()
