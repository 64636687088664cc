// Package proc runs the server under test as a real process for the black-box tests.
//
// SESSIOND_TEST_SERVER=redis runs redis-server in its place, to see that a test tells the
// truth about Redis before it is asked about sessiond.
package proc

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// Patience is how long the helpers wait for a process before they fail the test.
const Patience = 20 * time.Second

// IsRedis reports whether redis-server stands in for sessiond in this run.
func IsRedis() bool { return os.Getenv("SESSIOND_TEST_SERVER") == "redis" }

// OnlySessiond skips a test that asks for what Redis does not have.
func OnlySessiond(t testing.TB) {
	t.Helper()
	if IsRedis() {
		t.Skip("about sessiond alone, and redis-server runs in its place")
	}
}

// Require returns the path of a program the test needs. Where it is missing the test is
// skipped with its name, or fails in CI.
func Require(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(t, program)
	}
	return path
}

// Missing skips the test because of what is missing, or fails it in CI.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing, and CI must not skip", what)
	}
	t.Skipf("%s is missing", what)
}

// Eventually polls a real process until check returns nil; it fails the test with the
// last error when Patience is over.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", Patience, err)
		}
		time.Sleep(5 * time.Millisecond) // polling a real process
	}
}
