// Package compat_test drives sessiond from outside, over TCP, with the clients and tools
// people use, and compares it with redis-server.
package compat_test

import (
	"os"
	"testing"

	"github.com/sessiond/sessiond/compat_test/proc"
)

func TestMain(m *testing.M) { os.Exit(proc.Main(m)) }
