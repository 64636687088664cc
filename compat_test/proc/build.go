package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var build struct {
	once sync.Once
	dir  string // holds the binary; removed by Main
	path string
	err  error
}

// Main runs the tests and then removes the sessiond binary that was built for them. Call
// it from TestMain: os.Exit(proc.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	if build.dir != "" {
		_ = os.RemoveAll(build.dir) // in the temporary folder, which is cleaned anyway
	}
	return code
}

// Binary returns the path of sessiond, built once per test run with the flags in
// SESSIOND_BUILD_FLAGS (such as -race). SESSIOND_BINARY names one built before.
func Binary(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		if build.path = os.Getenv("SESSIOND_BINARY"); build.path == "" {
			build.path, build.err = buildSessiond()
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// buildSessiond builds inside sessiond's own module: its dependencies are not ours.
func buildSessiond() (path string, err error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sessiond/sessiond").Output()
	if err != nil {
		return "", fmt.Errorf("find the sessiond module: %w", err)
	}
	if build.dir, err = os.MkdirTemp("", "sessiond-under-test-"); err != nil {
		return "", err
	}
	path = filepath.Join(build.dir, "sessiond")
	args := append([]string{"build", "-o", path}, strings.Fields(os.Getenv("SESSIOND_BUILD_FLAGS"))...)
	cmd := exec.Command("go", append(args, "./cmd/sessiond")...)
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sessiond: %w\n%s", err, out)
	}
	return path, nil
}
