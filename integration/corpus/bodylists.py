"""Makes the body lists of RFC 8621 from a body structure, by the algorithm that stands in its section 4.1.4.

A line of standard input is a bodyStructure in JSON; a line of standard output is {"textBody", "htmlBody", "attachments":
part ids, "hasAttachment": boolean, "flaws": what of the RFC does not say what is to be done}.

The RFC is silent, or contradicts itself, in two places; a message that comes to one is told by flaws:

null-list   A part directly in a multipart/alternative is pushed to a list that is null, because that multipart is in
            another alternative in which the list has ended. Here it is pushed to nothing, as everywhere else.
nowhere     A text in an alternative is in no list, as both have ended: a text/html behind a text/plain in the same mixed
            part. The definition of "attachments" says that what is in neither of the two others is in that one.
"""

import json
import sys


def is_inline_media_type(kind):
    return kind.startswith(("image/", "audio/", "video/"))


class BodyLists:
    def __init__(self, structure):
        self.flaws = set()
        self.text, self.html, self.attachments = [], [], []
        self.parse([structure], "mixed", False, self.html, self.text)

    def parse(self, parts, multipart_type, in_alternative, html, text):
        text_length = len(text) if text is not None else -1
        html_length = len(html) if html is not None else -1
        for i, part in enumerate(parts):
            kind = part["type"]
            is_inline = (
                part["disposition"] != "attachment"
                and (kind in ("text/plain", "text/html") or is_inline_media_type(kind))
                and (i == 0 or (multipart_type != "related" and (is_inline_media_type(kind) or not part["name"])))
            )
            if kind.startswith("multipart/"):
                sub_type = kind.split("/")[1]
                self.parse(part["subParts"], sub_type, in_alternative or sub_type == "alternative", html, text)
            elif is_inline:
                if multipart_type == "alternative":
                    target = {"text/plain": text, "text/html": html}.get(kind, self.attachments)
                    if target is None:
                        self.flaws.add("null-list")
                    else:
                        target.append(part)
                    continue
                if in_alternative:
                    if kind == "text/plain":
                        html = None
                    if kind == "text/html":
                        text = None
                if text is not None:
                    text.append(part)
                if html is not None:
                    html.append(part)
                if (text is None or html is None) and is_inline_media_type(kind):
                    self.attachments.append(part)
                if text is None and html is None and not is_inline_media_type(kind):
                    self.flaws.add("nowhere")
            else:
                self.attachments.append(part)
        if multipart_type == "alternative" and text is not None and html is not None:
            if text_length == len(text) and html_length != len(html):
                text.extend(html[html_length:])
            if html_length == len(html) and text_length != len(text):
                html.extend(text[text_length:])


def main():
    for line in sys.stdin:
        lists = BodyLists(json.loads(line))
        answer = {
            "textBody": [part["partId"] for part in lists.text],
            "htmlBody": [part["partId"] for part in lists.html],
            "attachments": [part["partId"] for part in lists.attachments],
            "hasAttachment": any(part["disposition"] != "inline" for part in lists.attachments),
            "flaws": sorted(lists.flaws),
        }
        print(json.dumps(answer), flush=True)


main()
