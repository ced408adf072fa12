"""Well-known event names: whatever tool wrote them, they never pass for activity."""

from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest

from churn.events.sources import event_kinds, known_names
from churn.kinds import ACTIVE_KINDS, EVENT_KINDS, is_active
from churn.settings import Extract
from churn.store import inputs

from ..conftest import read
from .replaying import Life, same_as_fresh

KINDS = {
    # Braze's Currents into Amplitude, and into Segment.
    "[Appboy] Email Sent": "message_sent",
    "[Appboy] Email Delivered": "message_sent",
    "[Appboy] Email Bounced": "other",
    "[Appboy] In-App Message Impression": "message_sent",
    "[Appboy] Push Notification Open": "message_engaged",
    "[Appboy] Content Card Dismissed": "other",
    "[Appboy] Canvas Entry": "other",
    "[Appboy] Something New": "other",
    "[Appboy] Session Start": "session_start",
    "[Appboy] Uninstall": "uninstall",
    "[Appboy] Email Unsubscribed": "subscription_change",
    "[Appboy] [Custom Event] Level Complete": "in_app",
    "[Appboy] [Custom Event] Push Notification Received": "message_sent",
    "iOS Foreground Push Opened": "message_sent",
    "Email Link Clicked": "message_engaged",
    "Subscription Group State Changed": "subscription_change",
    # Segment's own.
    "Application Installed": "install",
    "Application Updated": "other",
    "Application Opened": "session_start",
    "Application Uninstalled": "uninstall",
    "Install Attributed": "other",
    "Push Notification Received": "message_sent",
    "Push Notification Tapped": "message_engaged",
    "Push Notification Bounced": "other",
    "Order Refunded": "refund",
    "Order Completed": "in_app",
    # Profile writes.
    "$identify": "other",
    "$groupidentify": "other",
    "identify": "other",
    "$create_alias": "other",
    "$set": "other",
    # Mixpanel, CleverTap, OneSignal, MoEngage, Klaviyo, Iterable, RevenueCat.
    "$campaign_delivery": "message_sent",
    "$campaign_open": "message_engaged",
    "$ae_updated": "other",
    "Notification Viewed": "message_sent",
    "Notification Clicked": "message_engaged",
    "Push Impressions": "message_sent",
    "App Uninstalled": "uninstall",
    "os_notification_received": "message_sent",
    "os_notification_opened": "message_engaged",
    "Notification Received Android": "message_sent",
    "NOTIFICATION_CLICKED_IOS_MOE": "message_engaged",
    "Received Email": "message_sent",
    "Opened Email": "message_engaged",
    "emailSend": "message_sent",
    "pushOpen": "message_engaged",
    "rc_renewal_event": "subscription_change",
    # Firebase and AppsFlyer in a table of one's own.
    "notification_receive": "message_sent",
    "notification_dismiss": "other",
    "app_remove": "uninstall",
    "first_open": "install",
    "af_uninstall": "uninstall",
    "af_opened_from_push_notification": "message_engaged",
    "ad_impression": "ad_revenue",
    # Events of an app that only look like these.
    "set": "in_app",
    "open": "in_app",
    "message_written": "in_app",
    "email_changed": "in_app",
    "news_feed_viewed": "in_app",
    "notifications_viewed": "in_app",
}


def kinds_of(folder: Path, names: list[str], **parts: Any) -> list[str]:
    """The kinds of a table's events with these names."""
    rows = pl.DataFrame({"user_id": "u", "event": names, "time": "2026-03-01"})
    rows.write_csv(folder / "events.csv")
    extract = Extract(source="table", path="x", **parts)
    return read(folder / "events.csv", extract)["event_kind"].to_list()


def test_a_name_has_the_kind_that_its_tool_means(tmp_path: Path) -> None:
    """Messages, profile writes, uninstalls and refunds are passive in a table too; an
    app's own events stay in_app.
    """
    got = kinds_of(tmp_path, list(KINDS))
    assert dict(zip(KINDS, got, strict=True)) == KINDS


def test_what_people_write_to_each_other_is_their_doing(tmp_path: Path) -> None:
    """A chat app's own messages are no messages of a campaign."""
    names = ["Message Sent", "message_sent", "Reply Sent", "Viewed Email"]
    assert kinds_of(tmp_path, names) == [*["in_app"] * 3, "message_engaged"]


def test_the_study_knows_better(tmp_path: Path) -> None:
    """A kind that the study gives comes before that of a well-known name."""
    study = {"Push Notification Received": "in_app"}
    names = ["push_notification_received", "push_notification_sent"]
    assert kinds_of(tmp_path, names, kinds=study) == ["in_app", "message_sent"]


def test_the_study_comes_before_a_column_of_kinds(tmp_path: Path) -> None:
    """A name under ``kinds`` counts even if the table has a column of kinds."""
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,kind\nu,mail,2026-03-01,in_app\nu,buy,2026-03-01,purchase\n"
    )
    extract = Extract(source="table", path="x", kinds={"mail": "message_sent"})
    got = read(tmp_path / "events.csv", extract)
    assert got["event_kind"].to_list() == ["message_sent", "purchase"]


@pytest.mark.parametrize("source", ["table", "appsflyer", "branch", "ga4", "currents"])
def test_every_known_kind_exists(source: str) -> None:
    """The table gives no kind that the log does not know."""
    assert set(known_names.kinds(source).values()) <= set(EVENT_KINDS)


def test_a_word_means_something_in_its_own_source_only(tmp_path: Path) -> None:
    """Branch calls a session OPEN, and AppsFlyer a re-attribution re-engagement; in
    another source an app's own event may have that name.
    """
    event = pl.lit(pl.Series(["open", "re-engagement"]))

    def kinds(source: str) -> list[str | None]:
        return pl.select(known_names.kind(event, source)).to_series().to_list()

    assert kinds("branch") == ["session_start", None]
    assert kinds("appsflyer") == [None, "reattribution"]
    assert kinds("table") == [None, None]


def test_a_refund_is_no_activity(tmp_path: Path) -> None:
    """A return in a shop is a refund, and so is a purchase of a negative amount, even
    if the study calls the event a purchase. None of them counts as being active.
    """
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,revenue\n"
        "u,return,2026-03-01,\nu,order,2026-03-01,-5\nu,sale,2026-03-01,-5\n"
        "u,sale,2026-03-01,5\n"
    )
    extract = Extract(source="table", path="x", kinds={"sale": "purchase"})
    got = read(tmp_path / "events.csv", extract)
    kinds = got.select("event", kind="event_kind")
    assert kinds["kind"].to_list() == ["refund", "refund", "refund", "purchase"]
    assert kinds.filter(is_active(()))["kind"].to_list() == ["purchase"]


@pytest.mark.parametrize(
    ("event_type", "name", "kind"),
    [
        ("whatsapp.Send", "messages_whatsapp_send", "message_sent"),
        (
            "whatsapp.InboundReceive",
            "messages_whatsapp_inbound_receive",
            "message_engaged",
        ),
        ("sms.InboundReceive", "messages_sms_inbound_receive", "message_engaged"),
        ("email.Bounce", "messages_email_bounce", "other"),
        ("email.Abort", "messages_email_abort", "other"),
        ("email.Unsubscribe", "messages_email_unsubscribe", "subscription_change"),
        ("contentcard.Dismiss", "messages_contentcard_dismiss", "other"),
        (
            "inappmessage.Impression",
            "messages_inappmessage_impression",
            "message_sent",
        ),
    ],
)
def test_currents_names_messages_by_channel_and_verb(
    tmp_path: Path, event_type: str, name: str, kind: str
) -> None:
    """A reply is the person's doing; bounces, dismissals and aborted messages are no
    messages sent. The names of the channels stay whole.
    """
    schema = {
        "type": "record",
        "name": f"dataexport.S3.inner.users.messages.{event_type}",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "user_id", "type": "string"},
            {"name": "external_user_id", "type": "string"},
            {"name": "time", "type": "int"},
        ],
    }
    record = {
        "id": "e1",
        "user_id": "b1",
        "external_user_id": "u1",
        "time": 1_772_000_000,
    }
    with (tmp_path / "part.avro").open("wb") as stream:
        fastavro.writer(stream, fastavro.parse_schema(schema), [record])
    got = read(tmp_path / "part.avro", Extract(source="currents", path="x"))
    assert got.select("event", "event_kind").row(0) == (name, kind)


def earlier_version(patch: pytest.MonkeyPatch) -> None:
    """Readers that know no names, as an earlier version of them."""
    nothing = pl.lit(None, pl.String)
    patch.setattr(event_kinds.known_names, "kind", lambda *_: nothing)
    patch.setattr(inputs, "READERS_VERSION", 1)


@pytest.mark.parametrize("gone", [(), ("a.csv",)])
def test_a_new_version_applies_to_what_was_read_before(
    tmp_path: Path, gone: tuple[str, ...]
) -> None:
    """After an update the next ingest reads all files again. Rows of files that are
    gone take the kinds of today in the log itself, and nobody has to start anew.
    """
    life = Life(tmp_path, kinds={"push_sent": "in_app"})
    rows = "u1,email_sent,2026-03-01,1\nu1,push_sent,2026-03-02,2\n"
    header = "user_id,event,time,event_id\n"
    with pytest.MonkeyPatch.context() as patch:
        earlier_version(patch)
        life.write("a.csv", header + rows)
        life.write("b.csv", header + rows + "u2,open,2026-03-03,3\n")
        life.ingest()
    assert "email_sent" in _active(life)
    for name in gone:
        life.delete(name)
    done = life.ingest()
    assert done.n_again == 2 - len(gone)
    assert _active(life) == {"push_sent", "open"}
    same_as_fresh(life)
    assert life.ingest().n_again == 0


def _active(life: Life) -> set[str]:
    events = life.store().scan("events").collect()
    active = events.filter(pl.col("event_kind").is_in(ACTIVE_KINDS))
    return set(active["event"])
