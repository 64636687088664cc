package compat_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/diff"
	"github.com/sessiond/sessiond/compat_test/proc"
)

// Ensure that random lines, right and wrong ones, made from the syntax column of sessiond's
// own table get the same replies from sessiond and from Redis.
//
// SESSIOND_DIFF_COMMANDS is the number of lines (20,000; a full run has 200,000), and
// SESSIOND_DIFF_SEED repeats a run.
func TestDiff_Random(t *testing.T) {
	t.Parallel()
	lines, seed := number(t, "SESSIOND_DIFF_COMMANDS", 20_000), number(t, "SESSIOND_DIFF_SEED", time.Now().Unix())
	pair := startPair(t, readAccepted(t))
	begin := time.Now()
	differences, err := pair.Random(diff.Run{Commands: commands(t), Lines: int(lines), Seed: uint64(seed)})
	for _, d := range differences {
		t.Errorf("%s", d)
	}
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d lines in %v, SESSIOND_DIFF_SEED=%d", lines, time.Since(begin).Round(time.Millisecond), seed)
}

// Ensure that the random run sees a difference when there is one and shows the short way to
// it: here a server that counts how often keys are used.
func TestDiff_RandomSeesADifference(t *testing.T) {
	t.Parallel()
	pair := &diff.Pair{
		Oracle:  proc.StartRedis(t).Addr,
		Subject: proc.StartRedis(t, "--maxmemory-policy", "allkeys-lfu").Addr,
	}
	table := []diff.Command{
		{Name: "get", Syntax: "key"},
		{Name: "set", Syntax: "key value [NX | XX]"},
		{Name: "object freq", Syntax: "key"},
	}
	differences, err := pair.Random(diff.Run{Commands: table, Lines: 2000, Seed: 1, Most: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(differences) != 1 || len(differences[0].Before) != 2 {
		t.Fatalf("differences = %v, want one, with SET and OBJECT FREQ before it", differences)
	}
}

// commands reads sessiond's command table from docs/commands.md, which is generated from it:
// these tests do not link the server. A row begins with the name and syntax in backquotes.
func commands(t *testing.T) []diff.Command {
	t.Helper()
	text, err := os.ReadFile("../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	var table []diff.Command
	container := ""
	for _, row := range strings.Split(string(text), "\n") {
		row, ok := strings.CutPrefix(row, "| `")
		if !ok {
			continue
		}
		usage, _, _ := strings.Cut(row, "`")
		name, syntax, _ := strings.Cut(strings.ReplaceAll(usage, `\|`, "|"), " ")
		if name == container {
			sub, rest, _ := strings.Cut(syntax, " ")
			name, syntax = name+" "+sub, rest
		} else {
			container = name // its subcommands follow, if it has any
		}
		table = append(table, diff.Command{Name: strings.ToLower(name), Syntax: syntax})
	}
	if len(table) < 50 {
		t.Fatalf("docs/commands.md has %d commands", len(table))
	}
	return table
}

func number(t *testing.T, name string, unset int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return unset
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
