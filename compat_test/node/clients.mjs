// How each node client library connects. `at` is where and as whom:
// {host, port}, and optionally user, password, db; with tls, {ca, cert, key}, encrypted;
// with reconnect, a lost connection is made again in the client's default manner.
//
// open() resolves to {client, close} once the client has logged in and may be used, and
// rejects with the client's own error if the server refuses it.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

// Libraries from before ACLs have no way to send a user name.
const noUsers = new Set(['redis-0', 'redis-2'])

export const knowsUsers = (name) => !noUsers.has(name)

// The variants of one library; anything else is the library under its plain name.
const variants = {
  'redis-4-legacy': { library: 'redis-4', options: { legacyMode: true } },
  'redis-5-resp3': { library: 'redis-5', options: { RESP: 3 } },
  'redis-6-resp2': { library: 'redis-6', options: { RESP: 2 } },
}

export function open(name, at) {
  const { library, options } = variants[name] ?? { library: name, options: {} }
  if (library.startsWith('ioredis')) return openIoredis(require(library), at)
  const redis = require(library)
  switch (library) {
    case 'redis-0':
      return openRedis0(redis, at)
    case 'redis-2':
    case 'redis-3':
      return openCallback(redis, at)
    default:
      return openPromise(redis, at, options)
  }
}

// node_redis 0.12 knows the password as auth_pass and has no option for the database.
async function openRedis0(redis, { host, port, password, db }) {
  const options = password ? { auth_pass: password } : {}
  const client = redis.createClient(port, host, options)
  await ready(client, () => client.end())
  if (db) {
    await new Promise((resolve, reject) => client.select(db, (err) => (err ? reject(err) : resolve())))
  }
  return { client, close: () => client.end() }
}

// node_redis 2 and 3.
async function openCallback(redis, { host, port, user, password, db, tls }) {
  const client = redis.createClient({ host, port, user, password, db, tls })
  await ready(client, () => client.end(false))
  return { client, close: () => client.end(false) }
}

// node-redis 4, 5 and 6.
async function openPromise(redis, { host, port, user, password, db, tls, reconnect }, options) {
  const client = redis.createClient({
    ...options,
    socket: { host, port, ...(tls ? { tls: true, ...tls } : {}), ...(reconnect ? {} : { reconnectStrategy: false }) },
    username: user,
    password,
    database: db,
  })
  client.on('error', () => {}) // connect() and every command report it too
  await client.connect()
  return { client, close: () => (client.destroy ? client.destroy() : client.disconnect()) }
}

async function openIoredis(Redis, { host, port, user, password, db, tls, reconnect }) {
  const client = new Redis({
    host,
    port,
    username: user,
    password,
    db,
    tls,
    ...(reconnect ? {} : { retryStrategy: () => null }),
  })
  await ready(client, () => client.disconnect())
  return { client, close: () => client.disconnect() }
}

// ready waits for the client's own word, which comes after login and INFO. Later errors
// are those of a lost connection; commands report them too.
function ready(client, close) {
  return new Promise((resolve, reject) => {
    let done = false
    client.on('ready', () => {
      done = true
      resolve()
    })
    client.on('error', (err) => {
      if (done) return
      close()
      reject(err)
    })
  })
}
