// A client of another make against the node: rhea sends and receives, in one frame and in many, and decides every outcome.
// Arguments: port, and for PLAIN a user name and a password. It prints one line for each step and exits 0 when all is well.
'use strict';
const crypto = require('crypto');
const container = require('rhea').create_container();
const [port, username, password] = process.argv.slice(2);

function fail(what) {
    console.error('FAIL', what);
    process.exit(1);
}
setTimeout(() => fail('no end within 30 s'), 30000).unref();
for (const event of ['connection_error', 'session_error', 'sender_error', 'receiver_error', 'error', 'protocol_error']) {
    container.on(event, (c) => fail(event + ' ' + JSON.stringify((c.connection && c.connection.error) || c.message || c)));
}

const bodies = [Buffer.from('{"n":0}'), crypto.randomBytes(1000000), crypto.randomBytes(3000000), Buffer.from('{"n":3}')];
const section = require('rhea').message.data_section;

// max_frame_size bounds what the node sends us; what it takes, it announces.
const connection = container.connect({port: +port, username, password, reconnect: false, max_frame_size: 4096, idle_time_out: 20000});
connection.on('connection_open', () => console.log('open, product', connection.properties.product));

const sender = connection.open_sender({target: {address: 'rhea', capabilities: 'queue'}});
let next = 0, settled = 0;
sender.on('sendable', () => {
    while (next < bodies.length && sender.sendable()) {
        sender.send({message_id: 'm' + next, durable: true, content_type: 'application/json',
            application_properties: {n: next}, body: section(bodies[next])});
        next++;
    }
});
sender.on('accepted', () => {
    if (++settled === bodies.length) {
        console.log('sent and accepted', settled);
        receive();
    }
});
sender.on('rejected', () => fail('rejected'));
sender.on('released', () => fail('released'));
sender.on('modified', () => fail('modified'));

// The first is released, then modified as failed, then accepted, so it comes three times.
function receive() {
    const receiver = connection.open_receiver({source: {address: 'rhea'}, credit_window: 0, autoaccept: false});
    const want = ['m0', 'm0', 'm0', 'm1', 'm2', 'm3'];
    let got = 0;
    receiver.on('receiver_open', () => receiver.add_credit(1));
    receiver.on('message', ({message, delivery}) => {
        const n = message.application_properties.n, count = message.delivery_count || 0;
        if (message.message_id !== want[got]) {
            fail('got ' + message.message_id + ', want ' + want[got]);
        }
        if (!message.durable || message.content_type !== 'application/json' || !message.body.content.equals(bodies[n])) {
            fail(message.message_id + ' is not as it was sent');
        }
        if (count !== (got === 2 ? 1 : 0)) {
            fail(message.message_id + ': delivery-count ' + count);
        }
        got++;
        if (got === 1) {
            delivery.release({delivery_failed: false});
        } else if (got === 2) {
            delivery.modified({delivery_failed: true, undeliverable_here: false});
        } else {
            delivery.accept();
        }
        if (got < want.length) {
            receiver.add_credit(1);
        } else {
            console.log('received and accepted', bodies.length);
            drain(receiver);
        }
    });
}

// There is nothing left: a drain uses the credit up.
function drain(receiver) {
    receiver.on('receiver_drained', () => {
        console.log('drained, credit', receiver.credit);
        connection.close();
    });
    receiver.drain = true;
    receiver.add_credit(5);
}
connection.on('connection_close', () => console.log('closed'));
