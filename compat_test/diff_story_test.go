package compat_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/compat_test/diff"
	"github.com/sessiond/sessiond/compat_test/proc"
)

// Ensure that each story gets the same replies from sessiond and from Redis, in RESP2 and
// in RESP3, and that every accepted difference is still one.
func TestDiff_Stories(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/diff/stories/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	accepted := readAccepted(t)
	pair := startPair(t, accepted)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			story, err := diff.ReadStory(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, protocol := range []int{2, 3} {
				tell(t, pair, story, protocol)
			}
		})
	}
	if os.Getenv("SESSIOND_TEST_SERVER") == "redis" || t.Failed() || skipsStories() {
		return
	}
	for _, entry := range accepted.Unused() {
		t.Errorf("accepted difference that was not seen: %s", entry)
	}
}

func tell(t *testing.T, pair *diff.Pair, story *diff.Story, protocol int) {
	t.Helper()
	if story.Server != nil {
		pair = startPair(t, pair.Accepted, story.Server...)
	}
	differences, err := pair.Tell(story, protocol)
	for _, d := range differences {
		t.Errorf("%s", d)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// skipsStories reports whether -run selects single stories.
func skipsStories() bool { return strings.Contains(flag.Lookup("test.run").Value.String(), "/") }

func readAccepted(t *testing.T) *diff.Accepted {
	t.Helper()
	accepted, err := diff.ReadAccepted("testdata/diff/accepted.txt")
	if err != nil {
		t.Fatal(err)
	}
	return accepted
}

// startPair runs the oracle and the server under test.
func startPair(t *testing.T, accepted *diff.Accepted, args ...string) *diff.Pair {
	t.Helper()
	oracle, subject := proc.StartRedis(t, args...), proc.Start(t, args...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("subject's log:\n%s", subject.Log())
		}
	})
	return &diff.Pair{Oracle: oracle.Addr, Subject: subject.Addr, Accepted: accepted}
}
