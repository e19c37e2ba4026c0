"""The sizes that the contract promises. A limit is the largest value that passes; sizes are UTF-8 bytes."""

from __future__ import annotations

from typing import Final

MB: Final = 1_048_576

#: A body, as received and again after decompression.
MAX_BODY_BYTES: Final = 30 * MB
#: One value in `fields`, `tags` or `context`, or a log `message`.
MAX_VALUE_BYTES: Final = 5 * MB
#: All field values of one item together, names not counted.
MAX_ITEM_BYTES: Final = 10 * MB
MAX_FIELDS: Final = 200
MAX_TAGS: Final = 200
#: Members of a log entry's `context`.
MAX_CONTEXT_MEMBERS: Final = 200
MAX_ID_BYTES: Final = 512
#: An item's display name.
MAX_NAME_BYTES: Final = 1024
#: The name of a field, a tag or a context member.
MAX_KEY_BYTES: Final = 256
#: A connector's configuration.
MAX_CONFIGURATION_BYTES: Final = MB
MAX_STREAM_CHARACTERS: Final = 128
#: Digits of a number in plain decimal form; far inside what Postgres' numeric holds.
MAX_NUMBER_DIGITS: Final = 1000
#: Items that a retain may be allowed to remove: the largest number that every JSON parser keeps exactly.
MAX_AT_MOST: Final = (1 << 53) - 1
#: Levels of objects and arrays in a body.
MAX_NESTING: Final = 100
#: Faults that one refusal tells.
MAX_FAULTS: Final = 20

#: Token bucket of a new connector: tokens a second, and its capacity.
DEFAULT_RATE: Final = 100.0
DEFAULT_BURST: Final = 200
