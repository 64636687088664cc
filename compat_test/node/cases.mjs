// What a session store must do, whatever client carries it. Each case gets `t`:
//
//   t.at      where the server is: {host, port}
//   t.secret  the same for a server with a password: {host, port, user, password}
//   t.client  the client's name
//   t.major   the store's major, t.can its abilities
//   t.open    (at) => client; closed after the case
//   t.store   (options) => store on a fresh client
//   t.site    (store, maxAge) => site; closed after the case
//   t.server  a client of its own that looks at the keys; t.observe opens another
//   t.restart () => kills the server with SIGKILL and resolves when it runs again
//
// A case fails by throwing. It starts with an empty database of its own.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

import { knowsUsers } from './clients.mjs'
import { call } from './stores.mjs'

const hour = 3600

// A lifetime in seconds, read back a moment after it was set.
function assertFresh(got, want) {
  assert.ok(got > want - 60 && got <= want, `TTL is ${got}, want just under ${want}`)
}

async function login(t) {
  const browser = (await t.site(await t.store(), hour * 1000)).browser()
  const user = 'Zoë \r\n+OK\r\n👩‍🚀'
  const { id } = await browser.get(`/login?user=${encodeURIComponent(user)}`)
  assert.equal((await browser.get('/me')).user, user)
  assert.deepEqual(await t.server.keys('*'), [`sess:${id}`])
  assert.equal(JSON.parse(await t.server.get(`sess:${id}`)).user, user)
  assertFresh(await t.server.ttl(`sess:${id}`), hour)
}

async function count(t) {
  const browser = (await t.site(await t.store(), hour * 1000)).browser()
  for (let want = 1; want <= 5; want++) {
    assert.equal((await browser.get('/visit')).visits, want)
  }
}

// Forty people at once on one connection: nobody may get another's session.
async function crowd(t) {
  const site = await t.site(await t.store(), hour * 1000)
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const browser = site.browser()
      await browser.get(`/login?user=user-${i}`)
      await browser.get('/visit')
      const { user, visits } = await browser.get('/visit')
      assert.deepEqual({ user, visits }, { user: `user-${i}`, visits: 2 })
    }),
  )
  assert.equal(await t.server.dbsize(), 40)
}

async function touch(t) {
  const store = await t.store()
  const browser = (await t.site(store, hour * 1000)).browser()
  const { id } = await browser.get('/login?user=ada')
  const key = `sess:${id}`
  const before = await t.server.get(key)
  await t.server.expire(key, 100)
  assertFresh(await t.server.ttl(key), 100)
  assert.equal((await browser.get('/me')).user, 'ada')
  if (t.can.touch) {
    assertFresh(await t.server.ttl(key), hour)
  } else {
    assertFresh(await t.server.ttl(key), 100) // this major sends no EXPIRE
  }
  assert.equal(JSON.parse(await t.server.get(key)).user, JSON.parse(before).user)
}

// The result of touch rests on EXPIRE's integer: it must be 1 exactly, or 0.
async function touchResult(t) {
  const store = await t.store()
  const sess = { cookie: {}, user: 'ada' }
  await call(store, 'set', 'here', sess)
  assert.equal(await call(store, 'touch', 'here', sess), 'OK')
  assert.equal(await call(store, 'touch', 'nowhere', sess), 'EXPIRED')
}

async function regenerate(t) {
  const browser = (await t.site(await t.store(), hour * 1000)).browser()
  const { id } = await browser.get('/login?user=ada')
  const renewed = await browser.get('/regenerate')
  assert.notEqual(renewed.id, id)
  assert.equal(renewed.user, undefined)
  assert.equal(await t.server.exists(`sess:${id}`), 0)
  await browser.get('/login?user=bob')
  const { id: last, user } = await browser.get('/me')
  assert.equal(user, 'bob')
  assert.deepEqual(await t.server.keys('*'), [`sess:${last}`])
}

async function destroy(t) {
  const store = await t.store()
  const browser = (await t.site(store, hour * 1000)).browser()
  const { id } = await browser.get('/login?user=ada')
  await browser.get('/logout')
  assert.equal(await t.server.dbsize(), 0)
  assert.equal((await browser.get('/me')).user, undefined)
  assert.equal((await call(store, 'get', id)) ?? null, null)
  await call(store, 'destroy', id) // once more: no error
}

async function destroyMany(t) {
  const store = await t.store()
  for (const sid of ['a', 'b', 'c']) await call(store, 'set', sid, { cookie: {} })
  await call(store, 'destroy', ['a', 'c', 'missing'])
  assert.deepEqual(await t.server.keys('*'), ['sess:b'])
}

// More sessions than one SCAN page, and keys beside them that are not sessions.
async function list(t) {
  const store = await t.store()
  assert.equal(await call(store, 'length'), 0)
  assert.deepEqual(await call(store, 'all'), [])
  const want = Array.from({ length: 250 }, (_, i) => `id-${i}`).sort()
  await Promise.all(want.map((sid) => call(store, 'set', sid, { cookie: {}, user: `user of ${sid}` })))
  await t.server.set('other:1', 'not a session')
  assert.equal(await call(store, 'length'), want.length)
  assert.deepEqual((await call(store, 'ids')).sort(), want)
  const all = await call(store, 'all')
  assert.deepEqual(all.map((s) => s.id).sort(), want)
  assert.ok(all.every((s) => s.user === `user of ${s.id}`))
}

async function clear(t) {
  const store = await t.store()
  if (t.can.bareDEL) {
    await assert.rejects(call(store, 'clear'), /wrong number of arguments for 'del' command/)
  } else {
    await call(store, 'clear')
  }
  await Promise.all(Array.from({ length: 250 }, (_, i) => call(store, 'set', `id-${i}`, { cookie: {} })))
  await t.server.set('other:1', 'not a session')
  await call(store, 'clear')
  assert.deepEqual(await t.server.keys('*'), ['other:1'])
}

// connect-redis 7 and 8 take the keys of scanIterator one by one; since node-redis 5 they
// come in batches. What then goes wrong is inside the store, and the same with Redis:
// length counts batches, the others trip over an array in place of a key.
async function listBatched(t) {
  const store = await t.store()
  await Promise.all(Array.from({ length: 3 }, (_, i) => call(store, 'set', `id-${i}`, { cookie: {} })))
  assert.equal(await call(store, 'length'), 1)
  for (const method of ['ids', 'all', 'clear']) {
    await assert.rejects(call(store, method), TypeError, `${method} works now: treat it as the others`)
  }
  assert.equal(await t.server.dbsize(), 3)
}

// A session is there until its deadline and not a moment longer. The wall clock is the
// server's, as both run on one machine.
async function expiry(t) {
  const slack = 20 // ms; the server may have read the clock a little earlier
  const browser = (await t.site(await t.store({ ttl: 1 }))).browser()
  const sent = Date.now()
  const { id } = await browser.get('/login?user=ada')
  const answered = Date.now()
  for (;;) {
    const asked = Date.now()
    const value = await t.server.get(`sess:${id}`)
    if (value === null) {
      assert.ok(Date.now() >= sent + 1000 - slack, `gone ${Date.now() - sent} ms after it was set`)
      break
    }
    assert.ok(asked <= answered + 1000 + slack, `still there ${asked - answered} ms after it was set`)
    await sleep(15)
  }
  assert.equal((await browser.get('/me')).user, undefined)
  assert.equal(await t.server.exists(`sess:${id}`), 0)
}

// Saving a session whose time is up must not bring it back.
async function past(t) {
  const store = await t.store()
  await call(store, 'set', 'ada', { cookie: {}, user: 'ada' })
  const late = { cookie: { expires: new Date(Date.now() - 5000), maxAge: -5000 }, user: 'ada' }
  if (t.can.past === 'error') {
    await assert.rejects(call(store, 'set', 'ada', late), /invalid expire time in '(set|setex)' command/)
    assertFresh(await t.server.ttl('sess:ada'), 24 * hour) // as it was
  } else {
    await call(store, 'set', 'ada', late)
    assert.equal(await t.server.exists('sess:ada'), 0)
  }
}

// Touching a session whose time is up ends it: EXPIRE with a negative time deletes.
async function touchPast(t) {
  const store = await t.store()
  await call(store, 'set', 'ada', { cookie: {}, user: 'ada' })
  await call(store, 'touch', 'ada', { cookie: { expires: new Date(Date.now() - 5000), maxAge: -5000 } })
  assert.equal(await t.server.exists('sess:ada'), 0)
}

async function ttl(t) {
  const store = await t.store({ ttl: 500 })
  await call(store, 'set', 'ada', { cookie: {} })
  assertFresh(await t.server.ttl('sess:ada'), 500)
}

async function disableTTL(t) {
  const store = await t.store({ disableTTL: true })
  const browser = (await t.site(store, hour * 1000)).browser()
  const { id } = await browser.get('/login?user=ada')
  assert.equal((await browser.get('/me')).user, 'ada') // a touch, which must not arm it either
  assert.equal(await t.server.ttl(`sess:${id}`), -1)
}

async function prefix(t) {
  const ours = await t.store({ prefix: 'shop[*]:' }) // glob characters belong to the text
  const bare = await t.store({ prefix: '' })
  await call(ours, 'set', 'ada', { cookie: {}, user: 'ada' })
  await call(bare, 'set', 'bob', { cookie: {}, user: 'bob' })
  assert.deepEqual((await t.server.keys('*')).sort(), ['bob', 'shop[*]:ada'])
  assert.equal((await call(ours, 'get', 'ada')).user, 'ada')
  assert.equal((await call(ours, 'get', 'bob')) ?? null, null)
}

// The same id in two databases is two sessions.
async function database(t) {
  const other = 15
  const here = await t.store()
  const there = await t.store({}, { ...t.at, db: other })
  await call(here, 'set', 'ada', { cookie: {}, user: 'here' })
  await call(there, 'set', 'ada', { cookie: {}, user: 'there' })
  assert.equal((await call(here, 'get', 'ada')).user, 'here')
  assert.equal((await call(there, 'get', 'ada')).user, 'there')
  await call(here, 'destroy', 'ada')
  await t.server.select(other)
  assert.deepEqual(await t.server.keys('*'), ['sess:ada'])
  await t.server.flushdb()
}

async function password(t) {
  const { user, ...at } = t.secret
  await loggedIn(t, at)
}

async function userAndPassword(t) {
  await loggedIn(t, t.secret)
}

async function loggedIn(t, at) {
  const store = await t.store({ prefix: `${t.major}-${t.client}-${at.user ?? ''}:` }, at)
  const browser = (await t.site(store, hour * 1000)).browser()
  await browser.get('/login?user=ada')
  assert.equal((await browser.get('/me')).user, 'ada')
}

// The old clients hide the refusal of the password behind that of their next command.
async function wrongPassword(t) {
  const { user, ...at } = t.secret
  await assert.rejects(t.open({ ...at, password: 'wrong' }), /WRONGPASS|NOAUTH/)
}

async function wrongUser(t) {
  await assert.rejects(t.open({ ...t.secret, user: 'nobody' }), /WRONGPASS|NOAUTH/)
}

// The server dies without warning and comes back. The application is not restarted: its
// client connects again by itself, and everybody is still logged in.
async function restart(t) {
  const store = await t.store({}, { ...t.at, reconnect: true })
  const browser = (await t.site(store, hour * 1000)).browser()
  await browser.get('/login?user=ada')
  await browser.get('/visit')
  const gone = (await t.site(store, hour * 1000)).browser()
  const { id } = await gone.get('/login?user=bob')
  await gone.get('/logout')
  await call(store, 'set', 'carol', { cookie: {} })
  await t.server.expire('sess:carol', 100)

  await t.restart()
  const deadline = Date.now() + 15_000
  for (;;) {
    try {
      assert.equal((await browser.get('/me')).user, 'ada')
      break
    } catch (err) {
      if (err instanceof assert.AssertionError || Date.now() > deadline) throw err
      await sleep(50)
    }
  }
  assert.equal((await browser.get('/visit')).visits, 2)
  assert.equal((await call(store, 'get', id)) ?? null, null) // who had left stays out
  assertFresh(await (await t.observe(t.at)).ttl('sess:carol'), 100) // neither reset nor lost
}

// casesFor lists the cases of one store on one client, in the order of their running.
export function casesFor(can, major, client) {
  const batched = major <= 8 && /^redis-[56]/.test(client)
  return Object.entries({
    login,
    count,
    crowd,
    touch,
    touch_result: can.result && touchResult,
    regenerate,
    destroy,
    destroy_many: can.arrays && destroyMany,
    list: can.list && (batched ? listBatched : list),
    clear: can.clear && !batched && clear,
    expiry,
    past,
    touch_past: can.touch && touchPast,
    ttl,
    disable_ttl: can.noTTL && disableTTL,
    prefix,
    database,
    password,
    user_and_password: knowsUsers(client) && userAndPassword,
    wrong_password: wrongPassword,
    wrong_user: knowsUsers(client) && wrongUser,
    restart,
  }).filter(([, run]) => run)
}
