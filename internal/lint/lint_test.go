package lint

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// rules are all checks, by the name of their subtest.
var rules = []struct {
	name  string
	check func(*tree) []string
}{
	{"arrows", checkArrows},
	{"clock", checkClock},
	{"budgets", checkBudgets},
	{"sizes", func(t *tree) []string { return checkSizes(t, exemptions) }},
	{"init", checkInit},
	{"package docs", checkPackageDocs},
	{"names", checkNames},
	{"words", checkWords},
	{"retired", checkRetired},
	{"links", checkLinks},
	{"walkthrough", func(t *tree) []string { return checkWalkthrough(t, walked) }},
	{"drawing", checkDrawing},
}

// Ensure that the source keeps its own rules.
func TestSource(t *testing.T) {
	t.Parallel()
	source, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(source.files) < 20 {
		t.Fatalf("%d Go files found: this is not the root of the module", len(source.files))
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			for _, problem := range rule.check(source) {
				t.Error(problem)
			}
		})
	}
}

// Ensure that each rule finds what it forbids and lets pass what it allows.
func TestRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, path, content string
		want                string // part of the one problem; empty means none
	}{
		{"links", "docs/x.md", "see [it](x.md), [there](https://go.dev/x), `docs/x.md` and x.go", ""},
		{"links", "docs/x.md", "see [it](y.md#part)", "docs/x.md:1: docs/y.md does not exist"},
		{"links", "docs/x.md", "\nsee `server/gone.go`", "docs/x.md:2: server/gone.go does not exist"},
		{"arrows", "ttl/x.go", `package ttl; import "time"`, ""},
		{"arrows", "ttl/x.go", `package ttl; import "os"`, "ttl must not import os"},
		{"arrows", "storage/x.go", `package storage; import "github.com/sessiond/sessiond/ttl"`, ""},
		{"arrows", "storage/x.go", `package storage; import "github.com/sessiond/sessiond/server"`, "x.go:1: storage must not import"},
		{"arrows", "storage/x_test.go", `package storage; import "github.com/sessiond/sessiond/server"`, ""},
		{"arrows", "server/x.go", `package server; import "github.com/sessiond/sessiond/storage/pebble"`, "server must not import"},
		{"arrows", "server/x.go", `package server; import "github.com/sessiond/sessiond"`, "server must not import"},
		{"arrows", "server/x.go", `package server; import "os"; var p = os.Getpid()`, ""},
		{"arrows", "server/x.go", `package server; import "os"; var f, _ = os.Open("x")`, "server must not use os.Open"},
		{"arrows", "server/usage_x.go", `package server; import "os"; var f, _ = os.Open("x")`, ""},
		{"arrows", "server/x.go", `package server; import "path/filepath"`, "server must not import path/filepath"},
		{"arrows", "x.go", `package sessiond; import "github.com/sessiond/sessiond/storage/pebble"`, ""},
		{"arrows", "x.go", `package sessiond; import "github.com/spf13/pflag"`, ". must not import"},
		{"arrows", "x_test.go", `package sessiond; import "github.com/cockroachdb/pebble/v2/vfs"`, "only storage/pebble imports"},
		{"arrows", "x_test.go", `package sessiond; import "github.com/tidwall/redcon"`, "only server imports"},
		{"arrows", "server/resp/x.go", `package resp; import "github.com/tidwall/redcon"`, ""},
		{"arrows", "server/resp/x.go", `package resp; import "github.com/sessiond/sessiond/storage"`, "server/resp must not import"},
		{"arrows", "server/resp/x.go", `package resp; import "time"`, "server/resp must not import time"},
		{"arrows", "server/acl/x.go", `package acl; import "github.com/sessiond/sessiond/server"`, "server/acl must not import"},
		{"arrows", "server/acl/x.go", `package acl; import "net"`, "server/acl must not import net"},
		{"arrows", "util/x.go", `package util`, "package in no room"},
		{"arrows", "examples/x.go", `package x; import "github.com/tidwall/redcon"`, ""},
		{"clock", "ttl/x.go", `package ttl; import "time"; var t = time.Now()`, ""},
		{"clock", "server/x.go", `package server; import "time"; var t = time.Second`, ""},
		{"clock", "server/x.go", `package server; import "time"; var t = time.Now()`, "time.Now: only ttl"},
		{"clock", "server/x.go", `package server; import clock "time"; var t = clock.NewTicker`, "time.NewTicker"},
		{"clock", "bench/x.go", `package main; import "time"; var t = time.Now()`, ""},
		{"arrows", "bench/x.go", `package main; import "github.com/sessiond/sessiond/ttl"`, "bench must not import"},
		{"clock", "server/x_test.go", `package server; import "time"; var t = time.Now()`, ""},
		{"budgets", "x.go", "package x\n" + strings.Repeat("\n", 399), ""},
		{"budgets", "x.go", "package x\n" + strings.Repeat("\n", 400), "x.go: 401 lines"},
		{"budgets", "x_test.go", "package x\n" + strings.Repeat("\n", 500), ""},
		{"budgets", "x.go", "package x\nfunc f() {" + strings.Repeat("\n", 69) + "}", ""},
		{"budgets", "x.go", "package x\nfunc f() {" + strings.Repeat("\n", 70) + "}", "f has 71 lines"},
		{"init", "x.go", "package x\nfunc init() {}", "x.go:2: no init"},
		{"init", "x.go", "package x\nfunc (t) init() {}", ""},
		{"package docs", "x/x.go", "// Package x does.\npackage x", ""},
		{"package docs", "x/x.go", "// Does x.\npackage x", "x: no package comment"},
		{"package docs", "x/x.go", "package x", "x: no package comment"},
		{"package docs", "cmd/tool/x.go", "// Command tool does.\npackage main", ""},
		{"names", "server/x.go", `package server; func f() bool { return cmd.name == "exec" }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/x.go", `package server; func f() bool { return "exec" != q.cmd.name }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/x.go", `package server; func f() bool { return cmd.fullName() == "client|id" }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/x.go", `package server; func f() { switch cmd.name { case "exec", "quit": } }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/x.go", `package server; func f() bool { return strings.EqualFold(cmd.name, "exec") }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/x.go", `package server; func f() bool { return slices.Contains([]string{"exec"}, cmd.name) }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/x.go", `package server; func f() bool { return map[string]bool{"exec": true}[cmd.name] }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/x.go", `package server; func f() bool { return cmd == t.byName["exec"] }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/x.go", `package server; func f() bool { return cmd == t.named([]byte("exec")) }`, "server/x.go:1: a command is known by a literal"},
		{"names", "server/resp/x.go", `package server; func f() bool { return cmd.name == "exec" }`, "server/resp/x.go:1: a command is known"},
		{"names", "server/x.go", `package server; func f() bool { return cmd.container == "" && cmd.name == other.name && option == "exec" }`, ""},
		{"names", "server/x.go", `package server; func f() error { return fmt.Errorf("no %s", strings.ReplaceAll(cmd.fullName(), "|", " ")) }`, ""},
		{"names", "server/x_test.go", `package server; func f() bool { return cmd == t.byName["exec"] }`, ""},
		{"retired", "server/x.go", "package server; func (c *conn) noteState() {}", `noteState: "note" was replaced`},
		{"retired", "server/x.go", "package server; type t struct { seen int }", `seen: "seen" was replaced`},
		{"retired", "server/x.go", "package server; var markHead = 1", `markHead: "mark" was replaced`},
		{"retired", "server/x.go", "package server; func f() { strangers := 1 }", `strangers: "strangers" was replaced`},
		{"retired", "server/x.go", "package server; func f() { for _, place := range list {} }", `place: "place" was replaced`},
		{"retired", "server/x.go", "package server; var notebook = x.note(mark.Seen, permission)", ""},
		{"retired", "storage/x.go", "package storage; var seen = 1", ""},
		{"retired", "storage/pebble/x.go", "package pebble; func noteLost() {}", ""},
		{"retired", "server/x_test.go", "package server; func noteState() {}", ""},
		{"retired", "server/x.go", "// It waits. Who comes\n// later sees it.\npackage server", `"Who comes later sees it": name`},
		{"retired", "server/x.go", "// It is made anew.\npackage server", `"anew"`},
		{"retired", "server/x.go", "// It tells of the start.\npackage server", `"tells of"`},
		{"retired", "server/x.go", "// It says who comes. A clock tells the time.\npackage server", ""},
		{"words", "a.txt", "the C# language, ## Head, color #123abc", ""},
		{"words", "a.txt", "fixes\nsee #" + "12", "a.txt:2"},
		{"words", "a.txt", "see issue " + "328", "a number in a tracker"},
		{"words", "a.txt", "cd /wo" + "rk/main", "a path of one machine"},
		{"words", "a.txt", "./network/x and node/work/x", ""},
		{"words", "bench/a.json", `"https://registry.npm` + `js.org/x"`, "the host of a registry"},
		{"words", ".git", "gitdir: /wo" + "rk/main", ""},
		{"words", "node_modules/a.json", `"https://registry.npm` + `js.org/x"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule+" "+tt.path, func(t *testing.T) {
			t.Parallel()
			source, err := load(fstest.MapFS{tt.path: {Data: []byte(tt.content)}})
			if err != nil {
				t.Fatal(err)
			}
			problems := strings.Join(check(t, tt.rule, source), "\n")
			switch {
			case tt.want == "" && problems != "":
				t.Errorf("%s: %q: found %s, want nothing", tt.path, tt.content, problems)
			case !strings.Contains(problems, tt.want) || strings.Contains(problems, "\n"):
				t.Errorf("%s: %q: found %q, want one with %q", tt.path, tt.content, problems, tt.want)
			}
		})
	}
}

func check(t *testing.T, name string, source *tree) []string {
	t.Helper()
	for _, rule := range rules {
		if rule.name == name {
			return rule.check(source)
		}
	}
	t.Fatalf("no rule %q", name)
	return nil
}
