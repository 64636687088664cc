package server

import (
	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/server/resp"
)

// redisVersion is the version in HELLO and INFO. Clients select features by it.
const redisVersion = "7.2.0"

// runAuth mentions a missing password only in the form without a user, as Redis does. On a server
// without a password, "AUTH default x" succeeds.
func runAuth(c *call) error {
	user, password := acl.DefaultName, c.args[1]
	switch {
	case len(c.args) > 3:
		return errSyntax
	case len(c.args) == 3:
		user, password = c.arg(1), c.args[2]
	case c.srv.acl.Default().Rules().NoPassword():
		return errNoPassword
	}
	if err := c.logInAs(user, password); err != nil {
		return err
	}
	c.out.OK()
	return nil
}

// helloOptions are the arguments of HELLO.
type helloOptions struct {
	proto int // 0 means no change
	steps []helloStep
}

// helloStep is AUTH or SETNAME.
type helloStep struct {
	auth     bool
	user     string
	password []byte
	name     string
}

// parseHello returns, along with an error, the steps before the mistake: as in Redis 7.0, HELLO
// runs each step before it reads the next one.
func parseHello(args [][]byte) (helloOptions, error) {
	var o helloOptions
	if len(args) > 0 {
		n, ok := resp.ParseInt(args[0])
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
			o.steps = append(o.steps, helloStep{auth: true, user: string(args[1]), password: args[2]})
			args = args[3:]
		case equalFold(args[0], "SETNAME") && len(args) >= 2:
			if err := checkClientName(args[1]); err != nil {
				return o, err
			}
			o.steps = append(o.steps, helloStep{name: string(args[1])})
			args = args[2:]
		default:
			return o, errHelloOption(args[0])
		}
	}
	return o, nil
}

func runHello(c *call) error {
	o, err := parseHello(c.args[1:])
	for _, step := range o.steps {
		if !step.auth {
			c.setName(step.name)
		} else if err := c.logInAs(step.user, step.password); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case !c.loggedIn:
		return errHelloNoAuth
	}
	if o.proto != 0 {
		c.out.Proto = o.proto
	}
	c.introduce()
	return nil
}

// introduce appends the reply to HELLO: seven fields in Redis' order.
func (c *call) introduce() {
	w := &c.out
	w.Map(7)
	w.BulkString("server")
	w.BulkString("redis")
	w.BulkString("version")
	w.BulkString(redisVersion)
	w.BulkString("proto")
	w.Int(int64(w.Proto))
	w.BulkString("id")
	w.Int(c.id)
	w.BulkString("mode")
	w.BulkString("standalone")
	w.BulkString("role")
	w.BulkString("master")
	w.BulkString("modules")
	w.Array(0)
}

func runSelect(c *call) error {
	db, err := parseDB(c.args[1], c.srv.databases)
	if err != nil {
		return err
	}
	c.db = db
	c.out.OK()
	return nil
}

func runPing(c *call) error {
	switch len(c.args) {
	case 1:
		c.out.Simple("PONG")
	case 2:
		c.out.Bulk(c.args[1])
	default:
		return errArity(c.cmd.name)
	}
	return nil
}

func runEcho(c *call) error {
	c.out.Bulk(c.args[1])
	return nil
}

// runQuit only replies; the flag hangsUp of its row ends the connection. As in Redis, commands
// behind it in the pipeline are dropped.
func runQuit(c *call) error {
	c.out.OK()
	return nil
}

func runReset(c *call) error {
	c.resetState()
	c.out.Simple("RESET")
	return nil
}

// runCluster returns the error of a Redis server outside a cluster.
func runCluster(*call) error { return errClusterDisabled }
