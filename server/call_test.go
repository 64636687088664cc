package server

import (
	"strings"
	"testing"
)

// Ensure that the slots for many keys are made at once: they are let go of after each large
// command.
func TestCall_Scope_ManyKeys(t *testing.T) {
	line := words("MGET" + strings.Repeat(" k", 200_000))
	mget := newTable().named([]byte("mget"))
	allocations := testing.AllocsPerRun(1, func() {
		c := &call{conn: &conn{}, cmd: mget, args: line}
		if scope, err := c.scope(); err != nil || len(scope.Keys) != len(line)-1 {
			t.Errorf("the scope has %d keys, %v, want %d", len(scope.Keys), err, len(line)-1)
		}
	})
	if allocations > 5 { // the race detector makes a few of its own
		t.Errorf("200,000 keys took %v allocations, want one for the keys, and few others", allocations)
	}
}
