// Runs the cases of one store on one client and prints one JSON line for each:
//
//   {"plan":["login", ...]}
//   {"case":"login","error":""}
//
// and, when a case wants the server killed and started again, which is then answered by a
// line on standard input:
//
//   {"restart":true}
//
// The only argument is a JSON object:
//
//   major           of connect-redis
//   client          a name of clients.mjs
//   suite           "store" (cases.mjs) or "options" (options.mjs)
//   port, path      where the server is, by TCP and as a unix socket
//   secretPort, user, password
//                   a second server, which asks for them

import { writeSync } from 'node:fs'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import { open } from './clients.mjs'
import { abilities, newStore } from './stores.mjs'
import { serve } from './app.mjs'
import { casesFor } from './cases.mjs'
import { optionCases } from './options.mjs'

const caseDeadline = 20_000 // ms

const { major, client, suite, port, path, secretPort, user, password } = JSON.parse(process.argv[2])
const host = '127.0.0.1'
const at = { host, port, db: 1 }
const can = abilities(major)
const cases = suite === 'options' ? optionCases(major) : casesFor(can, major, client)

const print = (line) => writeSync(1, JSON.stringify(line) + '\n')

const input = createInterface({ input: process.stdin })

async function restart() {
  const restarted = once(input, 'line')
  print({ restart: true })
  await restarted
}

async function runCase(run) {
  const closers = []
  const later = (close) => closers.push(close)
  const connect = async (name, where) => {
    const opened = await open(name, where)
    later(opened.close)
    return opened.client
  }
  const t = {
    at,
    path,
    secret: { host, port: secretPort, user, password },
    client,
    major,
    can,
    later,
    restart,
    open: (where) => connect(client, where),
    observe: (where) => connect('ioredis-5', where),
    store: async (options, where = at) => newStore(major, { ...options, client: await t.open(where) }),
    site: async (store, maxAge) => {
      const site = await serve(store, maxAge)
      later(site.close)
      return site
    },
  }
  try {
    t.server = await t.observe(at)
    await t.server.flushdb()
    await run(t)
    return ''
  } catch (err) {
    return err.stack ?? String(err)
  } finally {
    for (const close of closers.reverse()) {
      await Promise.resolve().then(close).catch(() => {}) // it may be closed already
    }
  }
}

// A case that hangs fails alone; what it opened is left behind.
function bounded(result) {
  let timer
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve(`no end after ${caseDeadline} ms`), caseDeadline)
  })
  return Promise.race([result, late]).finally(() => clearTimeout(timer))
}

print({ plan: cases.map(([name]) => name) })
for (const [name, run] of cases) {
  print({ case: name, error: await bounded(runCase(run)) })
}
process.exit(0) // whatever a client may still hold open
