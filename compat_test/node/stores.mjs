// What each connect-redis major can do. The table holds the differences a user notices;
// the cases read it instead of asking for versions.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const session = require('express-session')

// touch    reading a session extends it
// list     has ids, length and all
// clear    has clear
// result   touch tells OK from EXPIRED
// arrays   destroy takes many ids, in one transaction
// bareDEL  clear on an empty store sends DEL without a key, an error
// past     what saving a session of the past does: the server's 'error', or 'delete'
// noTTL    has disableTTL
const none = { past: 'error' }
const table = {
  1: none,
  2: { ...none, touch: true, noTTL: true },
  3: { ...none, touch: true, noTTL: true, list: true, arrays: true },
  4: { ...none, touch: true, list: true, clear: true, result: true, bareDEL: true },
  5: { touch: true, noTTL: true, list: true, clear: true, result: true, bareDEL: true, past: 'delete' },
  6: { touch: true, noTTL: true, list: true, clear: true, result: true, bareDEL: true, past: 'delete' },
  7: { touch: true, noTTL: true, list: true, clear: true, past: 'delete' },
  8: { touch: true, noTTL: true, list: true, clear: true, past: 'delete' },
  9: { touch: true, noTTL: true, list: true, clear: true, past: 'delete' },
  10: { touch: true, noTTL: true, list: true, clear: true, past: 'delete' },
}

export const abilities = (major) => table[major]

// newStore makes a store of the major. Up to 6 the module is a function of express-session.
export function newStore(major, options) {
  const module = require(`connect-redis-${major}`)
  const Store = major <= 6 ? module(session) : (module.RedisStore ?? module.default)
  return new Store(options)
}

// call runs a store method in the callback style, which all majors understand.
export function call(store, method, ...args) {
  return new Promise((resolve, reject) => {
    store[method](...args, (err, result) => (err ? reject(err) : resolve(result)))
  })
}
