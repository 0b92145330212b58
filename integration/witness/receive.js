// Receives messages with rhea; see witness.go for arguments and output.
'use strict';
const rhea = require('rhea');

const [host, port, username, password, address, capability, count, fence] = process.argv.slice(2);
const container = rhea.create_container();
const DATA_SECTION = 0x75;
let left = fence ? Infinity : Number(count);
const WINDOW = 100; // credit, where the number of messages is not known
let credit = 0;

function body(message) {
  if (!message.body || message.body.typecode !== DATA_SECTION) {
    throw new Error('the body is not made of data sections');
  }
  const content = message.body.content;
  return Array.isArray(content) ? Buffer.concat(content) : content;
}

function describe(message) {
  const orNull = value => (value === undefined ? null : value);
  return {
    messageId: orNull(message.message_id),
    contentType: orNull(message.content_type),
    subject: orNull(message.subject),
    to: orNull(message.to),
    groupId: orNull(message.group_id),
    correlationId: orNull(message.correlation_id),
    durable: message.durable === true,
    applicationProperties: message.application_properties || {},
    body: body(message).toString('base64'),
  };
}

container.on('message', context => {
  if (fence && context.message.subject === fence) {
    context.delivery.accept();
    context.connection.close();
    return;
  }
  console.log(JSON.stringify(describe(context.message)));
  context.delivery.accept();
  left -= 1;
  credit -= 1;
  if (left === 0) {
    context.connection.close();
  } else if (fence && credit < WINDOW / 2) {
    give(context.receiver, WINDOW - credit);
  }
});

for (const event of ['connection_error', 'session_error', 'receiver_error', 'disconnected', 'error']) {
  container.on(event, context => {
    console.error(event, (context.error || context).condition, (context.error || context).description || context.message || '');
    process.exitCode = 1;
    if (context.connection && event !== 'disconnected') {
      context.connection.close();
    }
  });
}

function give(receiver, n) {
  credit += n;
  receiver.delivery_count %= 2 ** 32; // QUIRK: rhea counts on past the serial numbers of RFC 1982 (AMQP 1.0, 2.8.10)
  receiver.add_credit(n);
}

const connection = container.connect({ host, port: Number(port), username, password, reconnect: false });
// No window that refills itself: credit for the messages wanted, once, so that no other is taken. It is given when the
// broker has answered, because before that rhea does not know the numbers that a flow has to carry (AMQP 1.0, 2.5.6).
container.once('receiver_open', context => {
  const receiver = context.receiver;
  // QUIRK: rhea counts deliveries from 0 whatever the broker's attach says (AMQP 1.0, 2.6.7); RabbitMQ 4 begins below
  // zero, modulo 2^32, and would send that many more.
  receiver.delivery_count = receiver.remote.attach.initial_delivery_count || 0;
  give(receiver, fence ? WINDOW : left);
});
connection.open_receiver({ source: { address, capabilities: capability ? [capability] : [] }, credit_window: 0, autoaccept: false });
