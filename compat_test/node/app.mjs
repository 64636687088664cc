// A small site with sessions, and a browser with one cookie to visit it.

import http from 'node:http'
import { createRequire } from 'node:module'

const session = createRequire(import.meta.url)('express-session')

const patience = 5_000 // ms, for one page

const routes = {
  '/login': (req, query, done) => {
    req.session.user = query.get('user')
    done()
  },
  '/visit': (req, query, done) => {
    req.session.visits = (req.session.visits ?? 0) + 1
    done()
  },
  '/me': (req, query, done) => done(),
  '/regenerate': (req, query, done) => req.session.regenerate(done),
  '/logout': (req, query, done) => req.session.destroy(done),
}

// serve runs the site on a free port until close is called. The cookie lives maxAge ms;
// without it, the store's own ttl counts.
export async function serve(store, maxAge) {
  const sessions = session({
    store,
    secret: 'keyboard cat',
    resave: false,
    saveUninitialized: false,
    cookie: maxAge ? { maxAge } : {},
  })
  const server = http.createServer((req, res) => {
    const url = new URL(req.url, 'http://site')
    const fail = (err) => {
      res.statusCode = 500
      res.end(JSON.stringify({ error: err.message }))
    }
    sessions(req, res, (err) => {
      if (err) return fail(err)
      if (!req.session) return fail(new Error('no session: the store says it is disconnected'))
      routes[url.pathname](req, url.searchParams, (err) => {
        if (err) return fail(err)
        const { user, visits } = req.session ?? {}
        res.end(JSON.stringify({ id: req.session?.id, user, visits }))
      })
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${server.address().port}`
  return {
    browser: () => new Browser(base),
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

class Browser {
  constructor(base) {
    this.base = base
    this.cookie = ''
  }

  async get(path) {
    const res = await fetch(this.base + path, {
      headers: this.cookie ? { cookie: this.cookie } : {},
      signal: AbortSignal.timeout(patience),
    })
    const set = res.headers.getSetCookie()
    if (set.length) this.cookie = set[0].split(';')[0]
    const body = await res.json()
    if (!res.ok) throw new Error(`GET ${path}: ${body.error}`)
    return body
  }
}
