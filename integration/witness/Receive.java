// Receives messages with Qpid JMS; see witness.go for arguments and output. The capability is left to the library,
// which asks for a queue by itself. Property names that JMS forbids are invisible here, as to any JMS consumer.

import jakarta.jms.BytesMessage;
import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.apache.qpid.jms.message.JmsMessage;
import org.apache.qpid.jms.provider.amqp.message.AmqpJmsMessageFacade;

public class Receive {
    public static void main(String[] args) throws Exception {
        String host = args[0], port = args[1], user = args[2], password = args[3], address = args[4];
        int count = Integer.parseInt(args[6]);
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        // Without prefetch a message is asked for one at a time, and none is taken beyond the count.
        String url = "amqp://" + host + ":" + port + "?jms.prefetchPolicy.all=0";
        try (Connection connection = new JmsConnectionFactory(user, password, url).createConnection()) {
            connection.start();
            Session session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
            MessageConsumer consumer = session.createConsumer(session.createQueue(address));
            for (int i = 0; i < count; i++) {
                Message message = consumer.receive();
                out.println(json(describe(message)));
                message.acknowledge();
            }
        }
        out.flush();
    }

    static Map<String, Object> describe(Message message) throws Exception {
        // Neither the content type nor the group has a place of its own in JMS before the facade.
        var facade = (AmqpJmsMessageFacade) ((JmsMessage) message).getFacade();
        Map<String, Object> properties = new LinkedHashMap<>();
        for (Object entry : Collections.list(message.getPropertyNames())) {
            String name = (String) entry;
            if (!name.startsWith("JMSX")) { // JMS adds its own, such as the delivery count
                properties.put(name, message.getObjectProperty(name));
            }
        }
        Map<String, Object> described = new LinkedHashMap<>();
        described.put("messageId", message.getJMSMessageID());
        described.put("contentType", facade.getContentType() == null ? null : facade.getContentType().toString());
        described.put("subject", message.getJMSType());
        described.put("to", message.getJMSDestination() == null ? null : message.getJMSDestination().toString());
        described.put("groupId", facade.getGroupId());
        described.put("correlationId", message.getJMSCorrelationID());
        described.put("durable", message.getJMSDeliveryMode() == DeliveryMode.PERSISTENT);
        described.put("applicationProperties", properties);
        described.put("body", Base64.getEncoder().encodeToString(body(message)));
        return described;
    }

    // A data section is text or bytes to JMS, by its content type.
    static byte[] body(Message message) throws Exception {
        if (message instanceof TextMessage text) {
            return text.getText().getBytes(StandardCharsets.UTF_8);
        }
        BytesMessage bytes = (BytesMessage) message;
        byte[] body = new byte[(int) bytes.getBodyLength()];
        bytes.readBytes(body);
        return body;
    }

    static String json(Object value) {
        if (value == null || value instanceof Boolean || value instanceof Number) {
            return String.valueOf(value);
        }
        StringBuilder json = new StringBuilder();
        if (value instanceof Map<?, ?> map) {
            map.forEach((name, member) ->
                json.append(json.length() == 0 ? "" : ",").append(json(name)).append(":").append(json(member)));
            return "{" + json + "}";
        }
        for (char c : value.toString().toCharArray()) {
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return '"' + json.toString() + '"';
    }
}
