package publish

import "github.com/Azure/go-amqp"

// Caveats are what an attached link to address does not prove, for an operator
// to know: what the broker on conn was not asked, or does not tell.
func Caveats(cfg Config, conn *amqp.Conn, address string) []string {
	return cfg.caveats(address, conn.Properties())
}

func (c *Config) caveats(address string, properties map[string]any) (list []string) {
	if isBrokerJ(properties) {
		list = append(list, "Broker-J checks the right to send with the first message, which has not been sent")
	}
	if c.fansOut(address, properties) {
		list = append(list, "a message to this address may be accepted without a queue to keep it: make sure that one is bound")
	}
	return list
}
