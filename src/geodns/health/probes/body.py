"""What is looked for in the body of an HTTP reply.

Knows how much is read. Knows nothing of requests.
"""

from __future__ import annotations

from aiohttp import StreamReader

from .pattern import Patterns

MOST_BODY = 65536  # octets; no more are ever read
PATTERN = "re:"


async def find_in_body(content: StreamReader, wanted: str, patterns: Patterns) -> tuple[bool, bytes]:
    """Does the body hold the text *wanted*, or what follows its ``re:``? With it, what was read.

    A text is searched as it comes, and nobody waits for more once it is there. Raises TooSlow and aiohttp.ClientError.
    """
    if wanted.startswith(PATTERN):
        body = await _read(content, None)
        return await patterns.search(wanted.removeprefix(PATTERN), body), body
    needle = wanted.encode()
    body = await _read(content, needle)
    return needle in body, body


async def _read(content: StreamReader, needle: bytes | None) -> bytes:
    """The body as far as it is looked at, at most up to the first *needle*."""
    body = bytearray()
    while len(body) < MOST_BODY:
        chunk = await content.read(MOST_BODY - len(body))
        if not chunk:
            break
        start = max(0, len(body) - len(needle) + 1) if needle else 0
        body += chunk
        if needle and body.find(needle, start) >= 0:
            break
    return bytes(body)
