// Logs in over TLS with one client, stores and reads back a small and a large value, and
// prints one JSON line: {"error": ""}, or the client's own words for what went wrong.
//
// The only argument is a JSON object:
//
//   client          a name of clients.mjs
//   port            the TLS port
//   ca, cert, key   paths of PEM files; without cert and key no certificate is shown
//   user, password  optional

import { readFileSync, writeSync } from 'node:fs'
import assert from 'node:assert/strict'

import { open } from './clients.mjs'

const { client: name, port, ca, cert, key, user, password } = JSON.parse(process.argv[2])

const tls = { ca: readFileSync(ca) }
if (cert) Object.assign(tls, { cert: readFileSync(cert), key: readFileSync(key) })

async function visit() {
  const { client, close } = await open(name, { host: '127.0.0.1', port, user, password, tls })
  try {
    for (const value of ['in', 'x'.repeat(1 << 20)]) {
      await client.set('ada', value)
      assert.equal(await client.get('ada'), value)
    }
  } finally {
    close()
  }
}

const error = await visit().then(
  () => '',
  (err) => err.message || String(err),
)
writeSync(1, JSON.stringify({ error }) + '\n')
process.exit(0) // whatever the client may still hold open
