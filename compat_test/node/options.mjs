// The options of connect-redis 1, 2 and 3, which make the client themselves when none is
// given, with the node_redis they depend on. `t` is that of cases.mjs, with t.path, the
// server's unix socket.
//
// Every case logs in, reads back, and looks for the session where the option puts it.

import assert from 'node:assert/strict'

import { newStore } from './stores.mjs'

const day = 24 * 3600

// visit logs in on a store of these options and returns the session's id.
async function visit(t, options) {
  const store = newStore(t.major, options)
  t.later(() => store.client.end(false))
  const browser = (await t.site(store)).browser()
  const { id } = await browser.get('/login?user=ada')
  assert.equal((await browser.get('/me')).user, 'ada')
  return { id, client: store.client }
}

async function client(t) {
  const given = await t.open(t.at)
  const { id, client: used } = await visit(t, { client: given })
  assert.equal(used, given)
  assert.equal(await t.server.exists(`sess:${id}`), 1)
}

// The host is one that none of the clients takes by default.
async function host(t) {
  const { id } = await visit(t, { host: 'localhost', port: t.at.port, db: t.at.db })
  assert.equal(await t.server.exists(`sess:${id}`), 1)
}

async function port(t) {
  const { id } = await visit(t, { port: t.at.port, db: t.at.db })
  assert.equal(await t.server.exists(`sess:${id}`), 1)
}

// Applications that read the port from the environment pass text.
async function portText(t) {
  const { id } = await visit(t, { host: t.at.host, port: String(t.at.port), db: t.at.db })
  assert.equal(await t.server.exists(`sess:${id}`), 1)
}

async function socket(t) {
  const { id, client } = await visit(t, { socket: t.path, db: t.at.db })
  assert.equal(client.stream.remoteAddress, undefined) // not TCP
  assert.equal(await t.server.exists(`sess:${id}`), 1)
}

async function ttl(t) {
  const { id } = await visit(t, { ...t.at, ttl: 500 })
  const left = await t.server.ttl(`sess:${id}`)
  assert.ok(left > 440 && left <= 500, `TTL is ${left}`)
}

async function ttlDefault(t) {
  const { id } = await visit(t, { ...t.at })
  const left = await t.server.ttl(`sess:${id}`)
  assert.ok(left > day - 60 && left <= day, `TTL is ${left}`)
}

async function disableTTL(t) {
  const { id } = await visit(t, { ...t.at, disableTTL: true })
  assert.equal(await t.server.ttl(`sess:${id}`), -1)
}

// connect-redis 1 does not know disableTTL and arms the day it always arms.
async function disableTTLUnknown(t) {
  const { id } = await visit(t, { ...t.at, disableTTL: true })
  assert.ok((await t.server.ttl(`sess:${id}`)) > 0)
}

async function db(t) {
  const { id } = await visit(t, { host: t.at.host, port: t.at.port, db: 7 })
  assert.equal(await t.server.exists(`sess:${id}`), 0)
  await t.server.select(7)
  assert.deepEqual(await t.server.keys('*'), [`sess:${id}`])
  await t.server.flushdb()
}

async function pass(t) {
  const { user, ...at } = t.secret
  const { id } = await visit(t, { host: at.host, port: at.port, pass: at.password, prefix: `${t.major}:` })
  const server = await t.observe({ ...at, db: 0 })
  assert.equal(await server.exists(`${t.major}:${id}`), 1)
}

async function passAndDB(t) {
  const { user, ...at } = t.secret
  const { id } = await visit(t, { host: at.host, port: at.port, pass: at.password, db: 7, prefix: `${t.major}:` })
  const server = await t.observe({ ...at, db: 7 })
  assert.equal(await server.exists(`${t.major}:${id}`), 1)
}

async function prefix(t) {
  const { id } = await visit(t, { ...t.at, prefix: 'shop:' })
  assert.deepEqual(await t.server.keys('*'), [`shop:${id}`])
}

async function url(t) {
  const { id } = await visit(t, { url: `redis://127.0.0.1:${t.at.port}/7` })
  await t.server.select(7)
  assert.deepEqual(await t.server.keys('*'), [`sess:${id}`])
  await t.server.flushdb()
}

export function optionCases(major) {
  return Object.entries({
    client,
    host,
    port,
    port_text: portText,
    socket,
    ttl,
    ttl_default: ttlDefault,
    disable_ttl: major === 1 ? disableTTLUnknown : disableTTL,
    db,
    pass,
    pass_and_db: passAndDB,
    prefix,
    url,
  })
}
