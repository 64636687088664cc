package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Ensure that each command measures real servers and prints what it promises. The tests are
// not parallel: each of them wants all cores.
func TestRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc is missing")
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("redis-server is missing, and CI must not skip")
		}
		t.Skip("redis-server is missing")
	}
	program, err := build(t.Context(), t.TempDir(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir()) // shows what is left behind
	kept := t.TempDir()
	tests := []struct {
		name, line string
		want       []string
		not        string
	}{
		{
			"table", "table --quick --rows ^mix.512 --sessions 500",
			[]string{
				"machine: ", "redis: Redis server", "mix 512 B, no pipeline", "mix 512 B, pipeline 16",
				"(sessiond session)", "(redis always)", "client CPU per op", "<= 1.25x",
			}, "mix 200 B",
		},
		{
			"paced load", "table --quick --rows ^latency --sessions 500 --markdown",
			[]string{"| p99.9 | ", "| --- |"}, "mix 512 B",
		},
		{
			"large", "large --quick --sessions 1000 --redis --rows sessiond",
			[]string{"mix, the same 1 active of 1,000 sessions", "mix, all active of 1,000 sessions", "(10 sessions)", "resident memory", "first reply after kill -9"}, "redis everysec",
		},
		{
			"restart", "restart --sessions 500 --rounds 1 --redis --seconds 0.2 --dir " + kept,
			[]string{"sessiond session     at rest", "sessiond session  under load", "redis everysec  under load"}, "mix",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, progress bytes.Buffer
			args := append(strings.Fields(tt.line), "--sessiond", program)
			if err := run(t.Context(), args, &out, &progress); err != nil {
				t.Fatalf("%v\n%s%s", err, progress.String(), out.String())
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			if strings.Contains(out.String(), tt.not) {
				t.Errorf("%q was not asked for:\n%s", tt.not, out.String())
			}
			if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "sessiond-bench-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	if files, err := os.ReadDir(filepath.Join(kept, "sessiond-session")); err != nil || len(files) == 0 {
		t.Errorf("--dir has kept %d files: %v", len(files), err)
	}
}

// Ensure that a wrong command line is refused before anything runs.
func TestRun_Usage(t *testing.T) {
	t.Parallel()
	tests := []struct{ line, want string }{
		{"", "usage"},
		{"tables", "usage"},
		{"table --sessions 0", "at least one session"},
		{"table --random-share 2", "--random-share"},
		{"table more", `unexpected argument "more"`},
		{"restart --rows x", "unknown flag"},
		{"table --sessiond x --rows (", "--rows"},
		{"restart --sessiond none --seconds 0", "--seconds"},
	}
	for _, tt := range tests {
		err := run(context.Background(), strings.Fields(tt.line), &bytes.Buffer{}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.line, err, tt.want)
		}
	}
}
