// Sends mails with nodemailer, all at the same time.
//
// The argument is a file with a JSON object: host, port, lmtp, pool (connections that are kept, 0: one for each mail),
// caFile (empty: no TLS), implicit (TLS from the first octet), user, password and method (of AUTH; no user: none),
// timeout (seconds), and mails, each with from, to (a list), subject, text, path (of the file to attach; empty: none)
// and attachmentName. The file is streamed.
//
// Prints a JSON list, in the order of the mails: code and reply, the last reply of the server; code 0 and the error
// where the connection could not be made or was lost.
'use strict';
const fs = require('fs');
const nodemailer = require('nodemailer');

const job = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));

const transport = nodemailer.createTransport({
  host: job.host,
  port: Number(job.port),
  name: 'witness.example',
  lmtp: job.lmtp,
  pool: job.pool > 0,
  maxConnections: job.pool,
  maxMessages: Infinity,
  secure: job.implicit,
  requireTLS: job.caFile !== '' && !job.implicit,
  ignoreTLS: job.caFile === '',
  tls: job.caFile ? { ca: fs.readFileSync(job.caFile) } : {},
  auth: job.user ? { user: job.user, pass: job.password } : undefined,
  authMethod: job.method || 'PLAIN',
  socketTimeout: job.timeout * 1000,
});

async function send(mail) {
  const message = { from: mail.from, to: mail.to, subject: mail.subject, text: mail.text, attachments: [] };
  if (mail.path) {
    message.attachments.push({
      filename: mail.attachmentName,
      content: fs.createReadStream(mail.path),
      contentType: 'application/octet-stream',
      contentDisposition: 'attachment',
    });
  }
  try {
    return reply((await transport.sendMail(message)).response);
  } catch (error) {
    return error.response ? reply(error.response) : { code: 0, reply: String(error) };
  }
}

function reply(text) {
  return { code: Number(text.slice(0, 3)), reply: text.slice(4) };
}

async function main() {
  console.log(JSON.stringify(await Promise.all(job.mails.map(send))));
  transport.close();
}

main();
