package server

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

var errHTTP = errors.New("HTTP on a port of Redis' protocol")

// refuseHTTP ends a connection that sends POST or Host: a web page can make the browser of its
// visitor send a request with commands in its body to this port. As in Redis, there is no reply.
func (c *conn) refuseHTTP(args [][]byte) error {
	if !equalFold(args[0], "POST") && !equalFold(args[0], "HOST:") {
		return nil
	}
	if c.srv.httpWarning.due() {
		c.srv.log.Warn("client closed: it sent an HTTP request; perhaps somebody attacks through a browser",
			"client", c.id, "addr", c.remoteAddr())
	}
	return errHTTP
}

// warningPause is the least time between two equal warnings that anybody can provoke.
const warningPause = time.Minute

// warning limits how often a warning is logged, so that clients without a login cannot fill the log.
// It is safe for concurrent use.
type warning struct{ next atomic.Int64 }

// due reports whether the warning is to be logged now.
func (w *warning) due() bool {
	now, next := int64(ttl.System.Now()), w.next.Load()
	return now >= next && w.next.CompareAndSwap(next, now+warningPause.Milliseconds())
}
