package compat_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

const (
	oldestNode     = 20
	installTimeout = 3 * time.Minute
)

// requireNode returns the path of node, or skips: see proc.Missing.
func requireNode(t testing.TB) string {
	t.Helper()
	node := proc.Require(t, "node")
	out, err := exec.Command(node, "--version").Output()
	if err != nil {
		t.Fatalf("node --version: %v", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestNode {
		proc.Missing(t, "node "+strconv.Itoa(oldestNode)+" or newer")
	}
	return node
}

var installs sync.Map // folder -> func() error, which runs once

// installNode installs what the lock file in dir names into dir/node_modules, unless it is
// there already from an earlier run with the same lock file.
func installNode(t testing.TB, dir string) {
	t.Helper()
	npm := proc.Require(t, "npm")
	install, _ := installs.LoadOrStore(dir, sync.OnceValue(func() error { return npmCI(npm, dir) }))
	if err := install.(func() error)(); err != nil {
		t.Fatalf("npm ci in %s: %v", dir, err)
	}
}

// npmCI holds a lock on the lock file, because two test runs may share one checkout.
func npmCI(npm, dir string) error {
	lock, err := os.Open(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, lock); err != nil {
		return err
	}
	stamp := filepath.Join(dir, "node_modules", fmt.Sprintf(".installed-%x", sum.Sum(nil)[:8]))
	if _, err := os.Stat(stamp); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// nodeRun is the argument of node/run.mjs.
type nodeRun struct {
	Major      int    `json:"major"`
	Client     string `json:"client"`
	Suite      string `json:"suite"`
	Port       string `json:"port"`
	Path       string `json:"path,omitempty"`
	SecretPort string `json:"secretPort"`
	User       string `json:"user"`
	Password   string `json:"password"`
}

// nodeLine is one line of its output.
type nodeLine struct {
	Plan    []string `json:"plan"`
	Case    string   `json:"case"`
	Error   string   `json:"error"`
	Restart bool     `json:"restart"`
}

// runNode runs node/run.mjs and makes each of its cases a subtest. A case that was planned
// and did not report is a failure.
func runNode(t *testing.T, server *proc.Server, run nodeRun) {
	t.Helper()
	node := requireNode(t)
	installNode(t, "node")
	arg, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "run.mjs", string(arg))
	cmd.Dir = "node"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("node: %v", err)
	}

	planned := map[string]bool{}
	reportCases(t, stdout, planned, func() {
		server.Restart()
		_, _ = io.WriteString(stdin, "\n") // a node that is gone shows below
	})
	if err := cmd.Wait(); err != nil {
		t.Errorf("node run.mjs: %v\n%s", err, stderr.Bytes())
	}
	if len(planned) == 0 {
		t.Error("node run.mjs planned nothing")
	}
	for name, reported := range planned {
		if !reported {
			t.Errorf("case %s did not report\n%s", name, stderr.Bytes())
		}
	}
}

// reportCases reads lines up to the end of the output.
func reportCases(t *testing.T, output io.Reader, planned map[string]bool, restart func()) {
	t.Helper()
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line nodeLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("node run.mjs printed %q: %v", lines.Text(), err)
			continue
		}
		for _, name := range line.Plan {
			planned[name] = false
		}
		switch {
		case line.Restart:
			restart()
		case line.Case != "":
			planned[line.Case] = true
			t.Run(line.Case, func(t *testing.T) {
				if line.Error != "" {
					t.Error(line.Error)
				}
			})
		}
	}
	if err := lines.Err(); err != nil {
		t.Errorf("read from node: %v", err)
	}
}

// Ensure that the lock files pin versions and checksums but name no registry, so that
// everyone installs from their own. The .npmrc beside each sees to it.
func TestNodeLockFiles_NameNoRegistry(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"node", "../examples/express/classic", "../examples/express/today"} {
		b, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
		if err != nil {
			t.Fatal(err)
		}
		var lock struct {
			Packages map[string]struct {
				Resolved  string `json:"resolved"`
				Integrity string `json:"integrity"`
			} `json:"packages"`
		}
		if err := json.Unmarshal(b, &lock); err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		for name, p := range lock.Packages {
			if name != "" && (p.Resolved != "" || p.Integrity == "") {
				t.Errorf("%s: %s has resolved %q and integrity %q, want none and some", dir, name, p.Resolved, p.Integrity)
			}
		}
	}
}
