package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Ensure that the program of the README builds, and that a visitor stays logged in when
// it is killed.
func TestExample(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "app")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	dir := t.TempDir()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	visitor := &http.Client{Jar: jar, Timeout: 20 * time.Second}

	site, kill := start(t, binary, dir)
	wantPage(t, visitor, site, "You are not logged in.\n")
	post(t, visitor, site+"/login", url.Values{"user": {"ada"}})
	wantPage(t, visitor, site, "You are \"ada\".\n")

	kill()
	site, _ = start(t, binary, dir)
	wantPage(t, visitor, site, "You are \"ada\".\n")
	post(t, visitor, site+"/logout", nil)
	wantPage(t, visitor, site, "You are not logged in.\n")
}

// start runs the program and returns the address it prints, and a kill -9.
func start(t *testing.T, binary, dir string) (site string, kill func()) {
	t.Helper()
	cmd := exec.Command(binary, "-http", "127.0.0.1:0", "-redis", "127.0.0.1:0", "-dir", dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()         // the error is the kill
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	site, ok := strings.CutPrefix(strings.TrimSpace(line), "open ")
	if err != nil || !ok {
		t.Fatalf("it printed %q, %v", line, err)
	}
	return site, kill
}

func wantPage(t *testing.T, visitor *http.Client, site, want string) {
	t.Helper()
	response, err := visitor.Get(site)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil || string(page) != want {
		t.Errorf("page %q, %v, want %q", page, err, want)
	}
}

func post(t *testing.T, visitor *http.Client, page string, form url.Values) {
	t.Helper()
	response, err := visitor.PostForm(page, form)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", page, response.Status)
	}
}
