"""Well-known event names and their kinds, of all vendors, in one place.

Tools write into each other: Braze writes "[Appboy] Email Delivered" into Amplitude,
Segment passes on "Push Notification Received" and "Application Uninstalled", and a
table of one's own may hold any of these. So a name means the same in every source,
except for the few words of ``OF_SOURCE``, which an app could use for an event of its
own.

Names are compared without separators, because each tool spells them in its own way.
The names of messages are in ``message_names``.
"""

from collections.abc import Mapping
from functools import partial

import polars as pl

from churn.events.sources import message_names

SEPARATORS = ["_", "-", ".", "/", ":"]
"""What stands between words of a name, or doesn't."""

TAG = r"^(?:\[(?:appboy|braze|amplitude|onesignal|iterable|moengage|clevertap)\]_?)+"
"""Marks of the tool that wrote an event into another one."""

BRAZE_TAG = r"^\[(?:appboy|braze)\]"
BRAZE_CUSTOM = "[custom_event]_"
"""Braze marks an app's own events so; all of its other events are passive or known."""

NAMES: dict[str, tuple[str, ...]] = {
    "session_start": (
        "sessionstart",
        "afappopened",
        "applicationopened",
        "applaunched",
        "appsiteopened",
    ),
    "session_end": (
        "sessionend",
        "applicationbackgrounded",
        "sessionconcluded",
        "$aesession",
    ),
    "purchase": (
        "purchase",
        "afpurchase",
        "inapppurchase",
        "$aeiap",
        "rcinitialpurchaseevent",
        "rcnonsubscriptionpurchaseevent",
    ),
    "refund": (
        "refund",
        "refunded",
        "return",
        "returned",
        "orderrefunded",
        "orderreturned",
        "productrefunded",
        "productreturned",
        "purchaserefunded",
        "paymentrefunded",
        "appstorerefund",
        "chargeback",
    ),
    "install": (
        "install",
        "appinstall",
        "appinstalled",
        "applicationinstall",
        "applicationinstalled",
        "firstopen",
        "firstsession",
        "$aefirstopen",
    ),
    "reinstall": (
        "reinstall",
        "devicereinstall",
        "userreinstall",
    ),
    "reattribution": ("reattribution",),
    "uninstall": (
        "uninstall",
        "uninstalled",
        "afuninstall",
        "appremove",
        "appremoved",
        "appuninstall",
        "appuninstalled",
        "applicationuninstall",
        "applicationuninstalled",
        "deviceuninstall",
    ),
    "in_app": ("inapp",),
    "message_sent": (
        "iosforegroundpushopened",
        "iosforegroundpush",
    ),
    "message_engaged": (
        "messageengaged",
        "emailviewed",
        "viewedemail",
        "afopenedfrompushnotification",
        # Mixpanel's name for an app that was opened from a push notification.
        "$appopen",
    ),
    "subscription_change": (
        "subscriptionchange",
        "channelunsubscribed",
        "unsubscribed",
        "globalsubscriptionstatechange",
        "globalstatechange",
        "subscriptionglobalstatechange",
        "subscriptiongroupstatechange",
        "subscriptiongroupstatechanged",
        "pushpreferencechangedios",
        # Renewals happen without the person.
        "appstoresubscriptioncancel",
        "appstoresubscriptionconvert",
        "appstoresubscriptionrenew",
        "autorenewal",
        "subscriptionrenewal",
        "subscriptionrenewed",
        "subscriptionautorenewed",
        "subscriptionexpired",
        "rcrenewalevent",
        "rcexpirationevent",
        "rccancellationevent",
        "rctrialconvertedevent",
        "rctrialcancelledevent",
    ),
    "ad_revenue": (
        "adimpression",
        "adrevenue",
        "afadrevenue",
        "rcadrevenueevent",
    ),
    "other": (
        # Profile writes, often by a backend at night.
        "identify",
        "$identify",
        "groupidentify",
        "$groupidentify",
        "alias",
        "createalias",
        "$createalias",
        "$merge",
        "$set",
        "$setonce",
        "$unset",
        "userattributechange",
        "useridentitychange",
        "usermerged",
        "reachableby",
        "statetransitioned",
        # Attribution, updates and crashes.
        "installattributed",
        "installattribution",
        "firebasecampaign",
        "applicationupdated",
        "applicationcrashed",
        "appcleardata",
        "appexception",
        "appupdate",
        "appupdated",
        "appupgrade",
        "osupdate",
        "dynamiclinkappupdate",
        "$aeupdated",
        "$aecrashed",
        # A piece of a recorded session, which a library sends by itself.
        "$mpsessionrecord",
        # Advertisements asked for and shown.
        "adactiveview",
        "adexposure",
        "adquery",
        "adunitexposure",
        # Experiments, and campaigns that a person enters without knowing.
        "$experimentstarted",
        "$exposure",
        "$featureflagcalled",
        "[experiment]assignment",
        "[experiment]exposure",
        "abexperimentrendered",
        "abexperimentrolledout",
        "abexperimentstopped",
        "campaigncontrolgroupentered",
        "campaignconversion",
        "campaignconverted",
        "canvasconversion",
        "canvasconverted",
        "canvasentered",
        "canvasentry",
        "canvasexited",
        "userenteredflow",
        "userexitedflow",
        # Where a device happens to be.
        "geoclusterentered",
        "geoclusterexited",
        "rcbillingissueevent",
        "rcsubscriberaliasevent",
    ),
}
"""Names that are not those of a message, by kind."""

OF_SOURCE: dict[str, dict[str, str]] = {
    "appsflyer": {"session": "session_start", "reengagement": "reattribution"},
    "branch": {
        "open": "session_start",
        "websessionstart": "session_start",
        "impression": "other",
        "branchctaview": "other",
    },
    "ga4": {"error": "other"},
    # Singular tracks these by itself, as __START__ and so on.
    "singular": {
        "start": "install",
        "session": "session_start",
        "iap": "purchase",
        "reengagement": "reattribution",
    },
}
"""Words that have a meaning in one source only."""


def kind(event: pl.Expr, source: str) -> pl.Expr:
    """The kind of each event's name in the log; null for names not known here.

    A log has millions of rows but few names, so each of these is looked up once per
    batch of rows.

    >>> names = pl.Series(["[appboy]_email_delivered", "push-opened", "level_up"])
    >>> pl.select(kind(pl.lit(names), "amplitude")).to_series().to_list()
    ['message_sent', 'message_engaged', None]
    """
    return event.map_batches(
        partial(_of_names, known=kinds(source)),
        return_dtype=pl.String,
        is_elementwise=True,
    )


def _of_names(names: pl.Series, known: Mapping[str, str]) -> pl.Series:
    name = pl.col("name")
    by_name = _key(name).replace_strict(
        dict(known),
        default=None,
        return_dtype=pl.String,
    )
    by_tool = pl.when(_is_brazes_own(name)).then(pl.lit("other"))
    distinct = pl.DataFrame({"name": names.unique()})
    found = distinct.with_columns(kind=pl.coalesce(by_name, by_tool))
    return names.replace_strict(
        found["name"],
        found["kind"],
        default=None,
        return_dtype=pl.String,
    )


def _key(event: pl.Expr) -> pl.Expr:
    """A name without separators, and without the mark of the tool that wrote it."""
    without_tag = event.str.replace(TAG, "")
    own_name = without_tag.str.strip_prefix(BRAZE_CUSTOM)
    return own_name.str.replace_many(SEPARATORS, [""])


def _is_brazes_own(event: pl.Expr) -> pl.Expr:
    """Whether Braze wrote an event into another tool, and it isn't one of the app's."""
    is_custom = event.str.contains(BRAZE_CUSTOM, literal=True)
    return event.str.contains(BRAZE_TAG) & ~is_custom


def kinds(source: str) -> dict[str, str]:
    """Every well-known name in an extract of ``source`` with its kind."""
    found = message_names.kinds()
    for kind, names in NAMES.items():
        found.update(dict.fromkeys(names, kind))
    if source == "currents":
        found.update(message_names.of_currents())
    return {**found, **OF_SOURCE.get(source, {})}
