package compat_test

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// end is one way in which the server ends under load.
type end struct {
	name string
	mood mood
	do   func(c *crash)
}

// ends returns all of them. What is told while they are under way counts like the rest.
func ends() []end {
	kill := func(c *crash) { c.server.Kill() }
	return []end{
		{"kill", calm, kill},
		{"kill while it writes tables", bulky, kill},
		{"kill while it sweeps", hasty, kill},
		{"kill during a backup", calm, func(c *crash) {
			c.backup()
			c.pause(30 * time.Millisecond)
			c.server.Kill()
		}},
		{"kill while it stops", calm, func(c *crash) {
			c.server.Signal(syscall.SIGTERM)
			c.pause(40 * time.Millisecond)
			c.server.Kill()
		}},
		{"kill while it starts", bulky, func(c *crash) {
			c.server.Kill()
			c.killStarts(2)
		}},
		{"SIGSEGV", calm, func(c *crash) {
			c.server.Signal(syscall.SIGSEGV) // which ends a Go program after it wrote its stacks
		}},
		{"SIGTERM", calm, func(c *crash) {
			c.server.Signal(syscall.SIGTERM)
			c.server.WaitClean()
		}},
	}
}

// round puts the server under load for a random time below most, ends it, starts it again
// and checks everything. It returns what happened, for a log.
func (c *crash) round(e end, most time.Duration) string {
	c.t.Helper()
	begin := time.Now()
	c.load(e.mood, most, func() { e.do(c) })
	took := c.restart()
	v := c.check()
	return fmt.Sprintf("round %d, %s: ready in %v, %d keys checked; %v in all", c.rounds, e.name,
		took.Round(time.Millisecond), v.checked, time.Since(begin).Round(time.Millisecond))
}

// killStarts starts the server n times and kills it at a random moment of the start.
func (c *crash) killStarts(n int) {
	c.t.Helper()
	for range n {
		c.server.Launch()
		c.pause(60 * time.Millisecond)
		c.server.Kill()
	}
}

// backup asks for a copy to be made in the background, unless one is in the making.
func (c *crash) backup() {
	c.t.Helper()
	reply := c.server.Do("BGSAVE")
	if !strings.HasPrefix(reply, "+Background ") && !strings.HasPrefix(reply, "-ERR Background save already in progress") {
		c.t.Errorf("BGSAVE = %q", reply)
	}
}
