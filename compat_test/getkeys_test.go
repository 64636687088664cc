package compat_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// keyWords are what makes a difference to where the keys of a line are, and a few that do not.
var keyWords = []string{
	"a", "b", "c", "d", "", "0", "1", "2", "3", "7", "-1", "x1", "9223372036854775807", "STORE", "storedist", "STREAMS", "streams",
	"KEYS", "keys", "AUTH", "auth2", "GET", "get", "SET", "INCRBY", "overflow", "LIMIT", "BY", "COUNT", "GROUP", "BLOCK",
}

// Ensure that COMMAND GETKEYS and GETKEYSANDFLAGS answer as Redis does for every command it has,
// also those that are not served, whatever stands behind the name.
func TestDiff_GetKeys(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	redis, sessiond := proc.StartRedis(t), proc.Start(t)
	var names []string
	for _, m := range regexp.MustCompile(`\r\n([a-z|_-]+)\r\n`).FindAllStringSubmatch(
		strings.ReplaceAll(redis.Do("COMMAND", "LIST", "FILTERBY", "PATTERN", "*"), "\r\n", "\r\n\r\n"), -1) {
		names = append(names, m[1])
	}
	slices.Sort(names) // Redis has another order each time
	if len(names) < 350 {
		t.Fatalf("Redis names %d commands", len(names))
	}
	names = append(names, "nosuch", "xgroup|nosuch", "memory|nosuch", "client|nosuch")
	rng := rand.New(rand.NewPCG(17, 4))
	for _, name := range names {
		oracle, subject := redis.Dial(), sessiond.Dial()
		for i := range 24 {
			line := strings.Split(name, "|")
			for range (i + 1) / 2 {
				line = append(line, keyWords[rng.IntN(len(keyWords))])
			}
			compareKeys(t, subject, oracle, line)
		}
	}
	oracle, subject := redis.Dial(), sessiond.Dial()
	for _, line := range []string{
		"migrate h 1 _ 0 9 KEYS a b", "migrate h 1 _ 0 9 copy REPLACE auth p keys a", "migrate h 1 _ 0 9 auth2 keys keys keys a",
		"migrate h 1 _ 0 9 auth keys", "migrate h 1 k 0 9 auth keys x", "migrate h 1 _ 0 9 keys", "sort k by store get store limit store store a store b",
		"sort k store", "georadius k 1 2 3 m store a storedist b", "georadius k 1 2 3 m storedist a store", "georadiusbymember k m 3 m storedist a",
		"bitfield k get u8 0 overflow wrap get u8 1", "bitfield k get u8 0 set u8 0 1", "bitfield k get u8", "bitfield k", "xread count 2 streams a b 0 0",
		"xread streams a", "xreadgroup group streams c streams a 0", "eval s 0 a", "eval s 2 a b c", "eval s 3 a b", "zunionstore d 2 a b weights 1 2",
		"zunionstore d 0", "blmpop 0 2 a b left", "object help", "object", "xinfo help", "xgroup CREATE k g 0", "memory DOCTOR", "spublish c m",
	} {
		compareKeys(t, subject, oracle, strings.Fields(line))
	}
}

// compareKeys asks both servers for the keys of a line, in which "_" is an empty argument.
func compareKeys(t *testing.T, subject, oracle *proc.Conn, line []string) {
	t.Helper()
	for _, ask := range []string{"GETKEYS", "GETKEYSANDFLAGS"} {
		command := []string{"COMMAND", ask}
		for _, word := range line {
			command = append(command, strings.TrimPrefix(word, "_"))
		}
		if got, want := subject.Do(command...), oracle.Do(command...); got != want {
			t.Errorf("%q = %q, want %q", command, got, want)
		}
	}
}
