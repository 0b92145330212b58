// Package witness holds the scripts with which the integration tests read what lsmtpd published and send it mail:
// small programs around libraries that are not ours, so that they show what another party makes of it. Package
// testbed installs the libraries and runs the scripts.
//
// Every receiver takes host, port, user, password, address, capability (may be empty) and a number of messages, takes
// exactly that many from the broker, accepts them, and prints a line of JSON for each, with the body in base64:
//
//	{"messageId": "…", "contentType": "…", "subject": "…", "to": "…", "groupId": "…", "correlationId": "…",
//	 "durable": true, "applicationProperties": {}, "body": "…"}
//
// What a message does not have is null. receive.js takes one argument more, a subject: it then takes everything that
// there is and that comes, up to a message with that subject, which it accepts and does not print. A receiver runs until
// it has its messages; who runs it sets the time limit.
package witness

import "embed"

// Scripts are Receive.java (Qpid JMS), receive.js (rhea), receive.py (Qpid Proton), send.js (nodemailer), and send.py
// (smtplib).
//
//go:embed Receive.java receive.js receive.py send.js send.py
var Scripts embed.FS
