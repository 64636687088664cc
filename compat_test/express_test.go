package compat_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	appStartTimeout  = 20 * time.Second
	reconnectTimeout = 20 * time.Second
)

// Ensure that both editions of the Express example keep their visitors: over a restart of
// the application, and over a kill -9 of the server under it.
func TestExpress(t *testing.T) {
	t.Parallel()
	for _, edition := range []string{"classic", "today"} {
		t.Run(edition, func(t *testing.T) {
			t.Parallel()
			requireNode(t)
			dir := filepath.Join("..", "examples", "express", edition)
			installNode(t, dir)
			server := startKept(t)
			app := startApp(t, dir, server.Port)
			ada, bob := newVisitor(t), newVisitor(t)

			ada.sees(app, "/", "Welcome! This is your first visit.")
			ada.sees(app, "/", "This is visit number 2.")
			ada.sees(app, "/me", "You are not logged in.")
			ada.sees(app, "/login?username=ada", "Hello, ada.")
			ada.sees(app, "/me", "You are ada.")
			ada.sees(app, "/", "This is visit number 3.")
			bob.sees(app, "/login?username=bob", "Hello, bob.")
			bobsCookie := bob.cookie(app)
			bob.sees(app, "/logout", "Goodbye.")

			app.restart()
			ada.sees(app, "/me", "You are ada.")
			ada.sees(app, "/", "This is visit number 4.")

			server.Restart() // kill -9
			ada.seesSoon(app, "/me", "You are ada.")
			ada.sees(app, "/", "This is visit number 5.")
			ada.sees(app, "/logout", "Goodbye.")
			ada.sees(app, "/me", "You are not logged in.")
			bob.setCookie(app, bobsCookie)
			bob.sees(app, "/me", "You are not logged in.")
		})
	}
}

// app is a running example. It ends with the test.
type app struct {
	url *url.URL

	t    *testing.T
	dir  string
	env  []string
	cmd  *exec.Cmd
	logs *os.File
}

// startApp runs what "npm start" would run in dir, on a free port.
func startApp(t *testing.T, dir, redisPort string) *app {
	t.Helper()
	logs, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{
		t:    t,
		dir:  dir,
		env:  append(os.Environ(), "PORT=0", "REDIS_HOST=127.0.0.1", "REDIS_PORT="+redisPort),
		logs: logs,
	}
	t.Cleanup(func() {
		a.kill()
		_ = logs.Close() // read only after a failure
	})
	a.run()
	return a
}

func (a *app) run() {
	a.t.Helper()
	args := strings.Fields(startScript(a.t, a.dir))
	a.cmd = exec.Command(args[0], args[1:]...)
	a.cmd.Dir, a.cmd.Env, a.cmd.Stderr = a.dir, a.env, a.logs
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		a.t.Fatalf("npm start in %s: %v", a.dir, err)
	}
	first := make(chan string, 1)
	go func() { // ends with the process, whose output it drains
		line, _ := bufio.NewReader(stdout).ReadString('\n') // "" when it ended at once
		first <- line
		_, _ = io.Copy(io.Discard, stdout)
	}()
	select {
	case line := <-first:
		address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
		if !ok {
			a.t.Fatalf("the app printed %q\n%s", line, a.log())
		}
		base, err := url.Parse(address)
		if err != nil {
			a.t.Fatalf("the app printed %q: %v", line, err)
		}
		a.url = base
	case <-time.After(appStartTimeout):
		a.t.Fatalf("the app does not listen\n%s", a.log())
	}
}

func (a *app) kill() {
	if a.cmd != nil && a.cmd.Process != nil && a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Kill() // it may be gone already
		_ = a.cmd.Wait()         // the error says "killed"
	}
}

func (a *app) restart() {
	a.t.Helper()
	a.kill()
	a.run()
}

func (a *app) log() string {
	b, err := os.ReadFile(a.logs.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// startScript returns the "start" script of dir's package.json.
func startScript(t testing.TB, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Scripts struct {
			Start string `json:"start"`
		} `json:"scripts"`
	}
	if err := json.Unmarshal(b, &manifest); err != nil {
		t.Fatalf("%s/package.json: %v", dir, err)
	}
	if manifest.Scripts.Start == "" {
		t.Fatalf("%s/package.json has no start script", dir)
	}
	return manifest.Scripts.Start
}

// visitor is a browser with cookies. Cookies do not tell ports apart, so they survive a
// restart of the app on another one.
type visitor struct {
	t      *testing.T
	client *http.Client
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, client: &http.Client{Jar: jar, Timeout: 5 * time.Second}}
}

// sees fails the test unless the page has this text.
func (v *visitor) sees(a *app, path, want string) {
	v.t.Helper()
	got, err := v.get(a, path)
	if err != nil {
		v.t.Fatalf("GET %s: %v\n%s", path, err, a.log())
	}
	if got != want {
		v.t.Fatalf("GET %s = %q, want %q\n%s", path, got, want, a.log())
	}
}

// seesSoon is sees for an app whose client has lost its server: the page may fail until
// the client has connected again, but it must not say anything else.
func (v *visitor) seesSoon(a *app, path, want string) {
	v.t.Helper()
	deadline := time.Now().Add(reconnectTimeout)
	for {
		got, err := v.get(a, path)
		switch {
		case err == nil && got == want:
			return
		case err == nil:
			v.t.Fatalf("GET %s = %q, want %q\n%s", path, got, want, a.log())
		case time.Now().After(deadline):
			v.t.Fatalf("GET %s: still %v after %v\n%s", path, err, reconnectTimeout, a.log())
		}
		time.Sleep(50 * time.Millisecond) // polling a real process
	}
}

// get returns the page's text; an answer of the 500s is an error.
func (v *visitor) get(a *app, path string) (string, error) {
	res, err := v.client.Get(a.url.String() + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	if res.StatusCode >= 500 {
		return "", fmt.Errorf("%s: %s", res.Status, text)
	}
	return text, nil
}

// cookie returns the session cookie.
func (v *visitor) cookie(a *app) *http.Cookie {
	v.t.Helper()
	for _, c := range v.client.Jar.Cookies(a.url) {
		if c.Name == "session_id" {
			return c
		}
	}
	v.t.Fatal("no cookie named session_id")
	return nil
}

func (v *visitor) setCookie(a *app, c *http.Cookie) {
	v.t.Helper()
	v.client.Jar.SetCookies(a.url, []*http.Cookie{c})
}
