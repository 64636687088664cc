package server

import (
	"crypto/sha256"
	"crypto/subtle"
)

// redisVersion is what HELLO and INFO say, because clients choose features by it.
const redisVersion = "7.2.0"

// defaultUser is the only user there is: the one that AUTH with a bare password means.
const defaultUser = "default"

// runAuth gives the hint about a missing password only in the form without a user, as
// Redis does; "AUTH default x" succeeds on a server without a password.
func runAuth(c *call) error {
	user, password := defaultUser, c.args[1]
	switch {
	case len(c.args) > 3:
		return errSyntax
	case len(c.args) == 3:
		user, password = c.arg(1), c.args[2]
	case c.srv.settings.password() == "":
		return errNoPassword
	}
	if err := c.authenticate(user, password); err != nil {
		return err
	}
	c.logIn(user)
	c.out.ok()
	return nil
}

// authenticate returns errWrongPass unless the password is the user's.
func (c *conn) authenticate(user string, password []byte) error {
	want := c.srv.settings.password()
	if user == defaultUser && (want == "" || samePassword(want, password)) {
		return nil
	}
	return errWrongPass
}

// samePassword takes the same time for any two passwords: their hashes have one length.
func samePassword(want string, got []byte) bool {
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256(got)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func (c *conn) logIn(user string) {
	c.user = user
	c.setLoggedIn(true)
}

// helloOptions are the arguments of HELLO.
type helloOptions struct {
	proto    int // 0 keeps the present one
	auth     bool
	user     string
	password []byte
	named    bool
	name     string
}

func parseHello(args [][]byte) (helloOptions, error) {
	var o helloOptions
	if len(args) > 0 {
		n, ok := parseInt(args[0])
		switch {
		case !ok:
			return o, errProtoNotInteger
		case n != 2 && n != 3:
			return o, errNoProto
		}
		o.proto = int(n)
		args = args[1:]
	}
	for len(args) > 0 {
		switch {
		case equalFold(args[0], "AUTH") && len(args) >= 3:
			o.auth, o.user, o.password = true, string(args[1]), args[2]
			args = args[3:]
		case equalFold(args[0], "SETNAME") && len(args) >= 2:
			if err := checkClientName(args[1]); err != nil {
				return o, err
			}
			o.named, o.name = true, string(args[1])
			args = args[2:]
		default:
			return o, errHelloOption(args[0])
		}
	}
	return o, nil
}

// runHello changes nothing unless all of it succeeds, as of Redis 7.2: 7.0 keeps the name
// given beside a wrong password.
func runHello(c *call) error {
	o, err := parseHello(c.args[1:])
	if err != nil {
		return err
	}
	if o.auth {
		if err := c.authenticate(o.user, o.password); err != nil {
			return err
		}
		c.logIn(o.user)
	}
	if !c.loggedIn {
		return errHelloNoAuth
	}
	if o.named {
		c.setName(o.name)
	}
	if o.proto != 0 {
		c.out.proto = o.proto
	}
	c.introduce()
	return nil
}

// introduce appends the reply to HELLO: seven fields in the order clients know.
func (c *call) introduce() {
	w := &c.out
	w.dict(7)
	w.bulkString("server")
	w.bulkString("redis")
	w.bulkString("version")
	w.bulkString(redisVersion)
	w.bulkString("proto")
	w.integer(int64(w.proto))
	w.bulkString("id")
	w.integer(c.id)
	w.bulkString("mode")
	w.bulkString("standalone")
	w.bulkString("role")
	w.bulkString("master")
	w.bulkString("modules")
	w.array(0)
}

func runSelect(c *call) error {
	db, err := parseDB(c.args[1], c.srv.databases)
	if err != nil {
		return err
	}
	c.db = db
	c.out.ok()
	return nil
}

func runPing(c *call) error {
	switch len(c.args) {
	case 1:
		c.out.simple("PONG")
	case 2:
		c.out.bulk(c.args[1])
	default:
		return errArity(c.cmd.name)
	}
	return nil
}

func runEcho(c *call) error {
	c.out.bulk(c.args[1])
	return nil
}

// runQuit closes the connection once its replies are sent; what follows in the pipeline
// is dropped, as in Redis.
func runQuit(c *call) error {
	c.out.ok()
	c.closing = true
	return nil
}

func runReset(c *call) error {
	c.resetState()
	c.out.simple("RESET")
	return nil
}

// runReadOnly refuses as a Redis outside a cluster does.
func runReadOnly(*call) error { return errClusterDisabled }

func runReadWrite(*call) error { return errClusterDisabled }

func runCluster(*call) error { return errClusterDisabled }
