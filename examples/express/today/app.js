import { RedisStore } from 'connect-redis'
import express from 'express'
import session from 'express-session'
import { createClient } from 'redis'

const { PORT = 3000, REDIS_HOST = '127.0.0.1', REDIS_PORT = 6379, SESSION_SECRET = 'change me' } = process.env

const client = createClient({ socket: { host: REDIS_HOST, port: Number(REDIS_PORT) } })

// Without a listener a lost connection would end the process. The client connects again.
client.on('error', (err) => console.error(`session store: ${err.message || err.code}`))
await client.connect()

const app = express()

app.use(
  session({
    store: new RedisStore({ client }),
    name: 'session_id',
    secret: SESSION_SECRET,
    resave: false, // an unchanged session is touched, not written again
    saveUninitialized: false, // no session for those who only pass by
    cookie: { maxAge: 7 * 24 * 60 * 60 * 1000, sameSite: 'lax' },
  }),
)

// Names of visitors are shown as they are, so never as HTML.
app.use((req, res, next) => {
  res.type('text/plain')
  next()
})

app.get('/', (req, res) => {
  const first = !req.session.isVisit
  req.session.isVisit = first ? 1 : req.session.isVisit + 1
  res.send(first ? 'Welcome! This is your first visit.\n' : `This is visit number ${req.session.isVisit}.\n`)
})

// Who logs in gets a new session id, so that an id planted before is worth nothing.
app.get('/login', (req, res, next) => {
  const { username } = req.query
  if (!username) return res.status(400).send('Who are you? /login?username=ada\n')
  const { isVisit } = req.session
  req.session.regenerate((err) => {
    if (err) return next(err)
    req.session.username = String(username)
    req.session.isVisit = isVisit
    res.send(`Hello, ${req.session.username}.\n`)
  })
})

app.get('/me', (req, res) => {
  if (!req.session.username) return res.status(401).send('You are not logged in.\n')
  res.send(`You are ${req.session.username}.\n`)
})

app.get('/logout', (req, res, next) => {
  req.session.destroy((err) => {
    if (err) return next(err)
    res.clearCookie('session_id')
    res.send('Goodbye.\n')
  })
})

const server = app.listen(PORT, '127.0.0.1', (err) => {
  if (err) throw err
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
