var express = require('express')
var session = require('express-session')
var redis = require('redis')
var RedisStore = require('connect-redis')(session)

var client = redis.createClient(process.env.REDIS_PORT || '6379', process.env.REDIS_HOST || '127.0.0.1')

// Without a listener a lost connection would end the process. The client connects again.
client.on('error', function (err) {
  console.error('session store: ' + err.message)
})

var app = express()

app.use(session({
  store: new RedisStore({ client: client }),
  name: 'session_id',
  secret: process.env.SESSION_SECRET || 'change me',
  resave: false, // an unchanged session is touched, not written again
  saveUninitialized: false, // no session for those who only pass by
  cookie: { maxAge: 7 * 24 * 60 * 60 * 1000 }
}))

// While the store is away express-session leaves the request without a session.
app.use(function (req, res, next) {
  if (!req.session) return res.status(503).send('The session store is away. Try again.\n')
  next()
})

// Names of visitors are shown as they are, so never as HTML.
app.use(function (req, res, next) {
  res.type('text/plain')
  next()
})

app.get('/', function (req, res) {
  if (!req.session.isVisit) {
    req.session.isVisit = 1
    return res.send('Welcome! This is your first visit.\n')
  }
  req.session.isVisit++
  res.send('This is visit number ' + req.session.isVisit + '.\n')
})

app.get('/login', function (req, res) {
  if (!req.query.username) return res.status(400).send('Who are you? /login?username=ada\n')
  req.session.username = String(req.query.username)
  res.send('Hello, ' + req.session.username + '.\n')
})

app.get('/me', function (req, res) {
  if (!req.session.username) return res.status(401).send('You are not logged in.\n')
  res.send('You are ' + req.session.username + '.\n')
})

app.get('/logout', function (req, res, next) {
  req.session.destroy(function (err) {
    if (err) return next(err)
    res.clearCookie('session_id')
    res.send('Goodbye.\n')
  })
})

var server = app.listen(process.env.PORT || 3000, '127.0.0.1', function () {
  console.log('listening on http://127.0.0.1:' + server.address().port)
})
