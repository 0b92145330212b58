"""Receives messages with Qpid Proton; see witness.go for arguments and output."""

import base64
import json
import sys

from proton import symbol
from proton.handlers import MessagingHandler
from proton.reactor import Container, ReceiverOption


class SourceCapability(ReceiverOption):
    """Asks for a capability of the source."""

    def __init__(self, capability):
        self.capability = capability

    def apply(self, receiver):
        if self.capability:
            receiver.source.capabilities.put_object(symbol(self.capability))


def body(message):
    if not isinstance(message.body, (bytes, memoryview)):
        raise TypeError("the body is not a data section: %r" % type(message.body))
    return bytes(message.body)


def describe(message):
    return {
        "messageId": message.id,
        "contentType": message.content_type or None,
        "subject": message.subject,
        "to": message.address,
        "groupId": message.group_id or None,
        "correlationId": message.correlation_id,
        "durable": message.durable,
        "applicationProperties": message.properties or {},
        "body": base64.b64encode(body(message)).decode("ascii"),
    }


class Receiver(MessagingHandler):
    def __init__(self, host, port, user, password, address, capability, count):
        # Nothing is prefetched; on_link_opened gives credit for the messages wanted, so that no other is taken.
        super().__init__(prefetch=0, auto_accept=False)
        self.url = "amqp://%s:%s" % (host, port)
        self.user, self.password = user, password
        self.address, self.capability = address, capability
        self.left = int(count)
        self.error = None

    def on_start(self, event):
        connection = event.container.connect(
            self.url, user=self.user, password=self.password, allowed_mechs="PLAIN", reconnect=False)
        event.container.create_receiver(connection, self.address, options=SourceCapability(self.capability))

    def on_link_opened(self, event):
        # QUIRK: before the broker's attach has come, Proton counts deliveries from 0 instead of leaving the count to
        # the broker (AMQP 1.0, 2.7.4); RabbitMQ 4 begins below zero, modulo 2^32, and would send that many more.
        event.receiver.flow(self.left)

    def on_message(self, event):
        print(json.dumps(describe(event.message), default=str))
        self.accept(event.delivery)
        self.left -= 1
        if self.left == 0:
            event.connection.close()

    def fail(self, event, condition):
        self.error = str(condition)
        event.connection.close()

    def on_transport_error(self, event):
        self.fail(event, event.transport.condition)

    def on_connection_error(self, event):
        self.fail(event, event.connection.remote_condition)

    def on_session_error(self, event):
        self.fail(event, event.session.remote_condition)

    def on_link_error(self, event):
        self.fail(event, event.link.remote_condition)


receiver = Receiver(*sys.argv[1:])
Container(receiver).run()
if receiver.left > 0:
    sys.exit("%d messages missing: %s" % (receiver.left, receiver.error))
