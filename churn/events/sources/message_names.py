"""Names of events about messages: pairs of a channel and of what happened to a message.

Nearly every pair is in use somewhere, in one order or the other. All are written without
separators between their words. A message that reaches a person is ``message_sent``, what
the person does about it ``message_engaged``.
"""

CHANNELS = (
    "email",
    "marketingemail",
    "transactionalemail",
    "push",
    "pushmessage",
    "pushnotification",
    "mobilepush",
    "webpush",
    "browserpush",
    "notification",
    "osnotification",
    "inapp",
    "inappmessage",
    "inappnotification",
    "firebaseinappmessage",
    "contentcard",
    "newsfeedcard",
    "sms",
    "smsmessage",
    "mms",
    "rcs",
    "whatsapp",
    "whatsappmessage",
    "webhook",
    "$campaign",
)
"""Names of channels by which messages reach people."""

SENT = (
    "send",
    "sent",
    "carriersend",
    "deliver",
    "delivered",
    "delivery",
    "receive",
    "received",
    "impression",
    "impressions",
    "viewed",
    "shown",
    "show",
    "displayed",
    "foreground",
    "iosforeground",
)
"""What happens to a message without the person's doing."""

ENGAGED = (
    "open",
    "opened",
    "influenceopen",
    "influenceopened",
    "click",
    "clicked",
    "tap",
    "tapped",
    "action",
    "linkclick",
    "linkclicked",
    "shortlinkclick",
    "shortlinkclicked",
    "read",
    "replied",
    "reply",
    "inboundreceive",
    "inboundreceived",
)
"""What a person does about a message."""

NOT_SENT = (
    "abort",
    "aborted",
    "bounce",
    "bounced",
    "softbounce",
    "softbounced",
    "hardbounced",
    "blocked",
    "complaint",
    "complained",
    "deferred",
    "deliveryfailure",
    "dismiss",
    "dismissed",
    "close",
    "closed",
    "dropped",
    "failed",
    "failure",
    "undelivered",
    "rejected",
    "rejection",
    "skipped",
    "suppressed",
    "spam",
    "spamreport",
    "markasspam",
    "markspam",
    "markedspam",
    "markedasspam",
    "reportedasspam",
    "uninstall",
)
"""What is neither a message that arrived nor a person's coming back."""

SUBSCRIPTION = (
    "optin",
    "optout",
    "subscribe",
    "subscribed",
    "unsubscribe",
    "unsubscribed",
    "unregistered",
)

VERBS = {
    **dict.fromkeys(SENT, "message_sent"),
    **dict.fromkeys(ENGAGED, "message_engaged"),
    **dict.fromkeys(NOT_SENT, "other"),
    **dict.fromkeys(SUBSCRIPTION, "subscription_change"),
}
"""Kind of an event about a message, by what happened."""

VERB_FIRST = (
    "sent",
    "delivered",
    "received",
    "viewed",
    "opened",
    "clicked",
    "tapped",
    "bounced",
    "dropped",
    "dismissed",
    "unsubscribed",
)
"""Verbs that tools also write before the channel, as in "Opened Email"."""

PLATFORMS = (
    "android",
    "ios",
    "web",
    "moe",
    "iosmoe",
    "webmoe",
)
"""Ends of MoEngage's names."""


def kinds() -> dict[str, str]:
    """Every name of an event about a message with its kind, without separators."""
    found: dict[str, str] = {}
    for channel in CHANNELS:
        for verb, kind in VERBS.items():
            found[channel + verb] = kind
        for verb in VERB_FIRST:
            found[verb + channel] = VERBS[verb]
    for channel in ("notification", "inapp"):
        for verb, kind in VERBS.items():
            for platform in PLATFORMS:
                found[channel + verb + platform] = kind
    found["pushuninstall"] = "uninstall"
    return found


def of_currents() -> dict[str, str]:
    """Names that Currents' message events have in the log, with their kinds."""
    return {
        f"messages{channel}{verb}": kind
        for channel in (*CHANNELS, "whats", "line", "banner")
        for verb, kind in VERBS.items()
    }
