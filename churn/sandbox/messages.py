"""The texts of Braze's answers, and the forms in which it reports objects' errors."""

from collections.abc import Mapping
from typing import Any

from churn.sandbox.values import JsonObject

# Status and parsed body of an answer.
Answer = tuple[int, JsonObject]

MAX_EXTERNAL_ID_BYTES = 987
MAX_ALIAS_BYTES = 236

NO_IDENTIFIER = (
    "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
)
SEVERAL = "You must specify only one of 'external_id', 'user_alias' or 'braze_id'"
BAD_ALIAS = (
    "'user_alias' must have an alias_name and an alias_label of 1 to "
    f"{MAX_ALIAS_BYTES} bytes"
)
BAD_PHONE = "The value provided for the 'phone' field is not a valid phone number."
UNKNOWN_SYNTAX = "Error while parsing request body. Please check your syntax."
NOTHING_VALID = (
    "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
)
TOO_MANY = "Max Input Length Exceeded"
NO_STATUS = "API request status is not enabled for this app group."
# The refusal of an object by the fault "partial".
INJECTED = "refused by the sandbox, as its faults say"

# The names that Braze's documents list for errors, and the sentence that it answers.
# Other errors have a sentence only.
SENTENCES = {
    "BAD_DEVICE_ID": "'device_id' of a push token must have 8 to 255 bytes",
    "BAD_EMAIL_SUBSCRIPTION_STATE": (
        "'email_subscribe' must be 'subscribed', 'unsubscribed', or 'opted_in'"
    ),
    "BAD_LOCATION_UPDATE": "'current_location' must have a longitude and a latitude",
    "BAD_PUSH_SUBSCRIPTION_STATE": (
        "'push_subscribe' must be 'subscribed', 'unsubscribed', or 'opted_in'"
    ),
    "BAD_PUSH_TOKEN_APP_ID": "every push token must have an app_id",
    "BAD_PUSH_TOKEN_IMPORT": (
        "'push_token_import' must not come with 'external_id' or 'braze_id'"
    ),
    "BAD_PUSH_TOKEN_STRING": "every push token must have a token",
    "BAD_PUSH_TOKEN_VALUE": "'push_tokens' must be an array of objects",
    "BAD_SUBSCRIPTION_GROUP_ARRAY": "'subscription_groups' must be an array",
    "BAD_SUBSCRIPTION_GROUP_HASH": "every subscription group must be an object",
    "BAD_SUBSCRIPTION_GROUP_ID": (
        "every subscription group must have a subscription_group_id"
    ),
    "BAD_SUBSCRIPTION_GROUP_STATE": (
        "the state of a subscription group must be 'subscribed' or 'unsubscribed'"
    ),
    "BLACKLISTED_EXTERNAL_USER_ID": (
        "provided external_id is blacklisted and disallowed"
    ),
    "EMAIL_BAD_FORMAT": (
        "The value provided for the 'email' field is not a valid email."
    ),
    "EXTERNAL_USER_ID_TOO_LARGE": (
        f"'external_id' must be fewer than {MAX_EXTERNAL_ID_BYTES + 1} bytes"
    ),
    "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO": (
        "'email_subscription_info' is reserved"
    ),
}


def error_entries(faults: Mapping[tuple[str, int], str], form: str) -> list[Any]:
    """The ``errors`` of an answer from the fault at each array and index.

    The form is one of those that Braze has been seen to use: "sentence" and "enum" (the
    listed name) with array and index, "no_index" without them, "strings" as plain text.
    """
    entries: list[Any] = []
    for (array, index), fault in faults.items():
        text = fault if form == "enum" else SENTENCES.get(fault, fault)
        if form == "strings":
            entries.append(text)
        elif form == "no_index":
            entries.append({"type": text})
        else:
            entries.append(
                {
                    "type": text,
                    "input_array": array,
                    "index": index,
                }
            )
    return entries
