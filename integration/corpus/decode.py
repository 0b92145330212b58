"""Reads messages with CPython's email package and tells what it found.

A line of standard input is a JSON object {"octets": base64}; a line of standard output is one of
{"parts": [{"id", "type", "size", "sha256", "name"}], "defects": [names of classes]}. The ids are IMAP's section numbers.
"""

import base64
import email.feedparser
import email.header
import email.message
import email.policy
import hashlib
import json
import sys


class Message(email.message.Message):
    """A message whose parts of type message/* are leaves, kept as they are.

    The parser asks these two methods whether it is to go into a part, and nothing else does.
    """

    def get_content_type(self):
        return self.real_type().replace("message/", "leaf/")

    def get_content_maintype(self):
        return self.get_content_type().split("/")[0]

    def real_type(self):
        return super().get_content_type()


def parse(octets):
    parser = email.feedparser.BytesFeedParser(_factory=Message, policy=email.policy.compat32)
    parser.feed(octets)
    return parser.close()


def decoded_words(value):
    """Undoes RFC 2047, which some senders use in parameters, and which the package leaves alone there."""
    try:
        return str(email.header.make_header(email.header.decode_header(value)))
    except (email.errors.HeaderParseError, LookupError, UnicodeError):
        return value


def file_name(part):
    name = part.get_filename()
    if name is None:
        return None
    octets = name.encode("utf-8", "surrogateescape")
    try:
        return decoded_words(octets.decode("utf-8"))
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def leaves(message, section=""):
    """Yields the ids and leaves below a message, in order; the root of a message without parts is 1."""
    if not message.is_multipart():
        yield section or "1", message
        return
    for i, part in enumerate(message.get_payload(), 1):
        yield from leaves(part, f"{section}.{i}" if section else str(i))


def described(part_id, part):
    octets = part.get_payload(decode=True) or b""
    return {
        "id": part_id,
        "type": part.real_type(),
        "size": len(octets),
        "sha256": hashlib.sha256(octets).hexdigest(),
        "name": file_name(part),
    }


def main():
    for line in sys.stdin:
        message = parse(base64.b64decode(json.loads(line)["octets"]))
        parts = [described(part_id, part) for part_id, part in leaves(message)]
        defects = sorted({type(d).__name__ for part in message.walk() for d in part.defects})
        print(json.dumps({"parts": parts, "defects": defects}), flush=True)


main()
