// judge.cjs - what npm's mailparser reads in each mail on stdin (records {mail}, see fields.h), as a record: header
// values, texts, files.
//
//   node judge.cjs FOLDER-OF-PACKAGES
"use strict";
const path = require("path");
const packages = path.resolve(process.argv[2]);
const { simpleParser } = require(path.join(packages, "mailparser"));
const libmime = require(path.join(packages, "libmime")); // mailparser's own; it leaves headers it does not know as they are

function* records(data) {
  let fields = {};
  for (let at = 0; at < data.length; ) {
    const end = data.indexOf(10, at);
    const line = data.toString("latin1", at, end);
    at = end + 1;
    if (line === ".") {
      yield fields;
      fields = {};
      continue;
    }
    const [name, size] = line.split(" ");
    fields[name] = data.subarray(at, at + Number(size));
    at += Number(size) + 1;
  }
}

function write(fields) {
  const out = [];
  for (const [name, value] of Object.entries(fields)) {
    const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
    out.push(Buffer.from(`${name} ${bytes.length}\n`), bytes, Buffer.from("\n"));
  }
  out.push(Buffer.from(".\n"));
  return Buffer.concat(out);
}

function mailbox(got, name, value) {
  const first = value && value.value && value.value[0];
  got[name] = (first && first.address) || "";
  got[name + "_name"] = (first && first.name) || "";
}

async function read(mail) {
  const m = await simpleParser(mail, {
    skipHtmlToText: true, skipTextToHtml: true, skipTextLinks: true, skipImageLinks: true, keepCidLinks: true,
  });
  const got = { subject: m.subject || "", extra: libmime.decodeWords(String(m.headers.get("x-extra") || "")) };
  got.message_id = (m.messageId || "").replace(/^<|>$/g, "");
  got.date = String(m.date ? Math.floor(m.date.getTime() / 1000) : -1);
  mailbox(got, "from", m.from);
  mailbox(got, "to", m.to);
  if (m.text) got.text = m.text;
  if (m.html) got.html = m.html;
  for (const a of m.attachments) {
    if (a.contentDisposition === "inline") {
      got.inline = a.content;
      got.inline_name = a.filename || "";
      got.content_id = a.cid || "";
    } else {
      got.file = a.content;
      got.filename = a.filename || "";
    }
  }
  return got;
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const out = [];
  for (const fields of records(Buffer.concat(chunks))) out.push(write(await read(fields.mail)));
  process.stdout.write(Buffer.concat(out));
}

main();
