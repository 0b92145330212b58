"""Sends one multipart mail with Python's email and smtplib.

The argument is a file with a JSON object: addr ("host:port"), from, to (a list), subject, text, seed,
attachmentOctets, attachmentName, inlineOctets, user and password (both empty: no AUTH), caFile (empty: no STARTTLS),
timeout (seconds). An address beyond ASCII makes it a mail by SMTPUTF8, header included. The octets of attachment and image are pseudo-random, and the same for the same seed. smtplib holds
the message in memory.

Prints a JSON object: code and reply (the last reply of the server: to the end of data, or to the command that it
refused; code 0 and the error where the connection could not be made or was lost), octets and messageSHA256 (of the
message as sent, before dot-stuffing), attachmentSHA256, inlineSHA256 and textSHA256 (of the text as sent, in UTF-8
with CRLF).
"""

import hashlib
import json
import random
import smtplib
import ssl
import sys
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, make_msgid

CHUNK = 1 << 20  # randbytes makes an integer of all it is asked for


def octets(seed, count):
    source = random.Random(seed)
    return b"".join(source.randbytes(min(CHUNK, count - at)) for at in range(0, count, CHUNK))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def international(mail):
    return not all(address.isascii() for address in [mail["from"], *mail["to"]])


def build(mail, attachment, image):
    message = EmailMessage(policy=SMTPUTF8 if international(mail) else SMTP)
    message["From"] = mail["from"]
    message["To"] = ", ".join(mail["to"])
    message["Subject"] = mail["subject"]
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="witness.example")
    message.set_content(mail["text"])
    if image:
        message.add_related(image, "image", "png", cid="<image@witness.example>", disposition="inline", filename="image.png")
    if attachment:
        message.add_attachment(attachment, "application", "octet-stream", filename=mail["attachmentName"])
    return message


def deliver(mail, content):
    host, _, port = mail["addr"].rpartition(":")
    client = smtplib.SMTP(host, int(port), local_hostname="witness.example", timeout=mail["timeout"])
    try:
        client.ehlo()
        if mail["caFile"]:
            client.starttls(context=ssl.create_default_context(cafile=mail["caFile"]))
            client.ehlo()
        if mail["user"]:
            client.login(mail["user"], mail["password"])
        options = ["body=8bitmime"] if client.has_extn("8bitmime") else []
        if client.has_extn("size"):
            options.append("size=%d" % len(content))
        if international(mail):
            options.append("smtputf8")
        code, reply = client.mail(mail["from"], options)
        for recipient in mail["to"]:
            if code in (250, 251):
                code, reply = client.rcpt(recipient)
        if code in (250, 251):
            code, reply = client.data(content)
        try:
            client.quit()
        except (smtplib.SMTPException, OSError):
            pass  # what counts has been said
        return code, reply
    finally:
        client.close()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        mail = json.load(file)
    attachment = octets(mail["seed"], mail["attachmentOctets"])
    image = octets(mail["seed"] + 1, mail["inlineOctets"])
    message = build(mail, attachment, image)
    text = message.get_body(("plain",)).get_content()
    content = message.as_bytes()
    try:
        code, reply = deliver(mail, content)
    except smtplib.SMTPResponseException as refused:  # of the greeting, AUTH, or DATA itself
        code, reply = refused.smtp_code, refused.smtp_error
    except (smtplib.SMTPException, OSError) as broken:  # no server, or the connection lost
        code, reply = 0, "%s: %s" % (type(broken).__name__, broken)
    print(json.dumps({
        "code": code,
        "reply": reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply,
        "octets": len(content),
        "messageSHA256": sha256(content),
        "attachmentSHA256": sha256(attachment),
        "inlineSHA256": sha256(image),
        "textSHA256": sha256(text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-8")),
    }))


main()
